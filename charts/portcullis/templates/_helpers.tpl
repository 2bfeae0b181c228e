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
- --listen={{ .Values.listenAddress }}:8080
{{- end -}}

{{/* The same, and what those take that deal with files. */}}
{{- define "portcullis.commonArgs" -}}
{{ include "portcullis.processArgs" . }}
- --subdirectory={{ .Values.kubelet.subdirectory }}
{{- end -}}

{{/* A container is live while its tasks run, and ready after its first full sync. */}}
{{- define "portcullis.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* What the annotation of Kubernetes before 1.30 calls an AppArmor profile: AppArmorBetaProfileNamePrefix in k8s.io/api. */}}
{{- define "portcullis.appArmorAnnotation" -}}
{{- if eq .type "Localhost" }}localhost/{{ .localhostProfile }}{{ else if eq .type "RuntimeDefault" }}runtime/default{{ else }}unconfined{{ end }}
{{- end }}
