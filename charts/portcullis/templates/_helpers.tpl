{{/* Names are fixed: a cluster has one Portcullis, and a second release is refused by Helm because these objects exist. */}}

{{- define "portcullis.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}:{{ $tag }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{/* Selectors can't be changed later, so they hold neither the release's name nor a version. Argument: a component. */}}
{{- define "portcullis.selector" -}}
app.kubernetes.io/name: portcullis
app.kubernetes.io/component: {{ . }}
{{- end -}}

{{/* Argument: (list . "component") */}}
{{- define "portcullis.labels" -}}
{{- $root := index . 0 -}}
{{ include "portcullis.selector" (index . 1) }}
app.kubernetes.io/part-of: portcullis
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
{{- end -}}

{{/* The annotations of what stays when the release goes, as the files on nodes do: no Helm, Argo CD or Flux removes it. */}}
{{- define "portcullis.kept" -}}
helm.sh/resource-policy: keep
argocd.argoproj.io/sync-options: Prune=false,Delete=false
kustomize.toolkit.fluxcd.io/prune: disabled
{{- end -}}

{{/*
The same with a user's, each key once: a key that is written twice is refused by kustomize, and with it by Flux. The chart's own win,
because selectors and NetworkPolicies go by them. Argument: (list . "component" user's)
*/}}
{{- define "portcullis.labelsWith" -}}
{{- $own := include "portcullis.labels" (list (index . 0) (index . 1)) | fromYaml -}}
{{ toYaml (merge $own (index . 2)) }}
{{- end -}}

{{/* A pod's annotations; a user's own choice of the default container wins. Argument: (list "container" user's) */}}
{{- define "portcullis.podAnnotations" -}}
{{- $own := dict "kubectl.kubernetes.io/default-container" (index . 0) -}}
{{ toYaml (mergeOverwrite $own (index . 1)) }}
{{- end -}}

{{/* Linux nodes alone, whatever else a user asks for. Argument: user's */}}
{{- define "portcullis.nodeSelector" -}}
{{ toYaml (merge (dict "kubernetes.io/os" "linux") .) }}
{{- end -}}

{{/* Where the controller runs. The label has a value in some distributions ("true" in k3s), so a nodeSelector can't say it. */}}
{{- define "portcullis.controller.affinity" -}}
{{- $own := dict -}}
{{- if .Values.controller.onControlPlane -}}
{{- $term := dict "matchExpressions" (list (dict "key" "node-role.kubernetes.io/control-plane" "operator" "Exists")) -}}
{{- $own = dict "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" (list $term))) -}}
{{- end -}}
{{ toYaml (merge (deepCopy .Values.controller.affinity) $own) }}
{{- end -}}

{{- define "portcullis.controller.tolerations" -}}
{{- $own := list -}}
{{- if .Values.controller.onControlPlane -}}
{{- $own = list (dict "key" "node-role.kubernetes.io/control-plane" "operator" "Exists" "effect" "NoSchedule") -}}
{{- end -}}
{{ toYaml (concat $own .Values.controller.tolerations) }}
{{- end -}}

{{/* The workloads, separated by spaces. */}}
{{- define "portcullis.components" -}}
controller agent{{ if .Values.recorder.enabled }} recorder{{ end }}
{{- end -}}

{{- define "portcullis.controller.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:portcullis-controller
{{- end -}}

{{- define "portcullis.agent.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:portcullis-agent
{{- end -}}

{{- define "portcullis.recorder.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:portcullis-recorder
{{- end -}}

{{/* What every role takes from operator/runtime. */}}
{{- define "portcullis.processArgs" -}}
- --log-format={{ .Values.log.format }}
- --log-level={{ .Values.log.level }}
- --health-probe-bind-address={{ .Values.listenAddress }}:8081
- --metrics-bind-address={{ .Values.listenAddress }}:8080
{{- end -}}

{{/* How those of an installation serve their metrics. */}}
{{- define "portcullis.metricsArgs" -}}
{{- if .Values.metrics.secure.enabled -}}
- --metrics-secure
{{- if .Values.metrics.secure.certificateSecret }}
- --metrics-cert-path=/metrics-certificate
{{- end }}
{{- end }}
{{- end -}}

{{/* The metrics' certificate, where one is given. Arguments of the two: the root. */}}
{{- define "portcullis.metricsVolumeMount" -}}
{{- if and .Values.metrics.secure.enabled .Values.metrics.secure.certificateSecret -}}
- {name: metrics-certificate, mountPath: /metrics-certificate, readOnly: true}
{{- end }}
{{- end -}}

{{- define "portcullis.metricsVolume" -}}
{{- if and .Values.metrics.secure.enabled .Values.metrics.secure.certificateSecret -}}
- name: metrics-certificate
  secret: {secretName: {{ .Values.metrics.secure.certificateSecret }}}
{{- end }}
{{- end -}}

{{/* What every role takes, and what those do that deal with files. */}}
{{- define "portcullis.commonArgs" -}}
{{ include "portcullis.processArgs" . }}
- --subdirectory={{ .Values.kubelet.subdirectory }}
{{- end -}}

{{/* Two, so that whoever reads metrics has no part in whether a pod is Ready. */}}
{{- define "portcullis.ports" -}}
- {name: metrics, containerPort: 8080, protocol: TCP}
- {name: probes, containerPort: 8081, protocol: TCP}
{{- end -}}

{{/* A container is live while its tasks run, and ready after its first full sync. */}}
{{- define "portcullis.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: probes}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{/* What the annotation of Kubernetes before 1.30 calls an AppArmor profile: AppArmorBetaProfileNamePrefix in k8s.io/api. */}}
{{- define "portcullis.appArmorAnnotation" -}}
{{- if eq .type "Localhost" }}localhost/{{ .localhostProfile }}{{ else if eq .type "RuntimeDefault" }}runtime/default{{ else }}unconfined{{ end }}
{{- end }}
