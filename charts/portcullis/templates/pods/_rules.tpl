{{/* Whether any rule for pods is asked for. Argument: the root. */}}
{{- define "portcullis.pods.any" -}}
{{- with .Values.admissionPolicies -}}
{{- if and .enabled (or .podsOfOwnNamespace .noPrivilegeEscalation (not .clusterProfileRevisions)) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The folders that hold Portcullis's files, as a CEL list. Argument: the root. */}}
{{- define "portcullis.pods.subdirectories" -}}
{{ concat (list .Values.kubelet.subdirectory) .Values.kubelet.previousSubdirectories | toJson | replace "\"" "'" }}
{{- end -}}

{{/*
The paths that a pod's spec names, as the variables of a policy: `paths`, a list of maps. Argument: the CEL expression of the spec.

`dyn`, because one list holds the three kinds of container. Maps hold strings alone, and say so, because CEL wants equal types in a literal.
*/}}
{{- define "portcullis.pods.paths" -}}
variables:
  - name: spec
    expression: {{ . | quote }}
  # Of a pod that is there already only what is added for debugging counts, so that old pods can still be debugged.
  - name: containers
    expression: >-
      request.?subResource.orValue('') == 'ephemeralcontainers'
      ? dyn(variables.spec.?ephemeralContainers.orValue([])
        .filter(c, !dyn(oldObject.spec).?ephemeralContainers.orValue([]).exists(old, old.name == c.name)))
      : dyn(variables.spec.containers) + dyn(variables.spec.?initContainers.orValue([]))
        + dyn(variables.spec.?ephemeralContainers.orValue([]))
  - name: podPath
    expression: variables.spec.?securityContext.?seccompProfile.?localhostProfile.orValue('')
  # The pod's own path, used or not, and each container's: its own profile goes before the pod's. No profile applies to a privileged one.
  - name: paths
    expression: >-
      (request.?subResource.orValue('') == 'ephemeralcontainers' ? []
      : [{'container': '', 'path': string(variables.podPath), 'escalates': 'no'}])
      + variables.containers.map(c, {
        'container': string(c.name),
        'path': string(c.?securityContext.?seccompProfile.hasValue()
          ? c.securityContext.seccompProfile.?localhostProfile.orValue('') : variables.podPath),
        'escalates': c.?securityContext.?allowPrivilegeEscalation.orValue(true) && !c.?securityContext.?privileged.orValue(false)
          ? 'yes' : 'no'})
{{- end -}}

{{/* What a pod's spec may name, as the variables and validations of a policy. Argument: (list root "CEL expression of the spec") */}}
{{- define "portcullis.pods.rules" -}}
{{- $policies := (index . 0).Values.admissionPolicies -}}
{{ include "portcullis.pods.paths" (index . 1) }}
  # The API server refuses '..' and absolute paths; the kubelet's path.Join drops empty parts and '.'.
  - name: own
    expression: >-
      variables.paths.map(p, {
        'container': string(p.container),
        'path': p.path.split('/').filter(part, part != '' && part != '.').join('/'),
        'escalates': string(p.escalates)})
      .filter(p, p.path.contains('/') && p.path.split('/')[0] in {{ include "portcullis.pods.subdirectories" (index . 0) }})
  {{- if $policies.podsOfOwnNamespace }}
  - name: foreign
    expression: >-
      variables.own.filter(p, p.path.split('/').size() > 2 && p.path.split('/')[1] != request.namespace)
  {{- end }}
  {{- if not $policies.clusterProfileRevisions }}
  # What begins with a dot is the agent's own: its store has every content under its digest.
  - name: revisions
    expression: >-
      variables.own.filter(p, p.path.split('/').size() == 2 && p.path.contains('@') || p.path.split('/')[1].startsWith('.'))
  {{- end }}
  {{- if $policies.noPrivilegeEscalation }}
  - name: escalating
    expression: >-
      namespaceObject.metadata.?labels[?'portcullis.dev/allow-looser-profiles'].orValue('') == 'true' ? []
      : variables.own.filter(p, p.escalates == 'yes' && p.path.split('/').size() > 2)
  {{- end }}
validations:
  {{- if $policies.podsOfOwnNamespace }}
  - expression: variables.foreign.size() == 0
    message: a seccompProfile.localhostProfile is a profile of another namespace than the pod's
    messageExpression: >-
      'seccompProfile.localhostProfile ' + variables.foreign[0].path + ' is a profile of namespace '
      + variables.foreign[0].path.split('/')[1] + ', and this pod is in ' + request.namespace
      + ': name a SeccompProfile of the pod\'s own namespace, or a ClusterSeccompProfile'
    reason: Forbidden
  {{- end }}
  {{- if not $policies.clusterProfileRevisions }}
  - expression: variables.revisions.size() == 0
    message: a seccompProfile.localhostProfile is one revision of a ClusterSeccompProfile, and not its current path
    messageExpression: >-
      'seccompProfile.localhostProfile ' + variables.revisions[0].path + ' is one revision of a ClusterSeccompProfile, with which the pod would '
      + 'stay when an administrator changes the profile: name its current path, the status.localhostProfile of the profile'
    reason: Forbidden
  {{- end }}
  {{- if $policies.noPrivilegeEscalation }}
  - expression: variables.escalating.size() == 0
    message: a container under a SeccompProfile lacks securityContext.allowPrivilegeEscalation=false
    messageExpression: >-
      'container ' + variables.escalating.map(p, p.container).join(', ') + ': set securityContext.allowPrivilegeEscalation=false, because '
      + 'seccompProfile.localhostProfile ' + variables.escalating[0].path + ' is a SeccompProfile, and a filter that is loaded before '
      + 'privileges are given up could keep them. Or have an administrator label namespace ' + request.namespace
      + ' with portcullis.dev/allow-looser-profiles=true'
    reason: Forbidden
  {{- end }}
{{- end -}}
