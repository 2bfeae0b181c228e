{{/*
A role's token, for the volume and its mount: where every client looks for it, and for an hour. The accounts mount none, so a pod that
merely names one has none; and what is asked for with another lifetime than the API server's own 3607 s is not extended to a year
(WarnOnlyBoundTokenExpirationPeriod of k8s.io/kubernetes/pkg/serviceaccount).
*/}}
{{- define "portcullis.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{- define "portcullis.tokenMount" -}}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}
