{{/* Parts that several objects have. Each takes the root, or a dict where it says so. */}}

{{/* Name of what is not in our namespace, of a dict of root and name: no installation in another namespace has it. */}}
{{- define "nodetell.wide" -}}
{{- if eq .root.Release.Namespace "nodetell" }}nodetell-{{ .name }}{{ else }}nodetell-{{ .root.Release.Namespace }}-{{ .name }}{{ end }}
{{- end }}

{{/* The agents, and with them the aggregator, are in the host's network. */}}
{{- define "nodetell.onHost" -}}
{{- if ge (int .Values.tier) 2 }}true{{ end }}
{{- end }}

{{/* Labels of what belongs to a role, of its name. */}}
{{- define "nodetell.labels" -}}
app.kubernetes.io/name: nodetell
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "nodetell.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* Image of a container, and how it is pulled. */}}
{{- define "nodetell.pulled" -}}
image: {{ include "nodetell.image" . | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{/* What all pods have, of a dict of root, role ("agent") and grace, in seconds. */}}
{{- define "nodetell.pod" -}}
{{- $values := index .root.Values .role -}}
serviceAccountName: nodetell-{{ .role }}
enableServiceLinks: false
{{- if include "nodetell.onHost" .root }}
hostNetwork: true
# Else names of Services would be asked of the node's own resolver, which does not know them.
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
priorityClassName: {{ $values.priorityClassName | default (include "nodetell.wide" (dict "root" .root "name" .role)) | quote }}
terminationGracePeriodSeconds: {{ .grace }}
{{- end }}

{{/* Nobody, with nothing. */}}
{{- define "nodetell.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65534
runAsGroup: 65534
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Of a pod whose metrics are scraped, of its port; as Prometheus' example configuration looks for them. */}}
{{- define "nodetell.scraped" -}}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ . | quote }}
{{- end }}

{{/* What a probe runs, of a dict of role, seconds, and state, which may be missing. */}}
{{- define "nodetell.alive" -}}
exec:
  command:
    - /usr/local/bin/python3
    - -IS
    - /opt/nodetell/nodetell/alive_check.py
    - /run/nodetell/{{ .role }}.alive
    - {{ .seconds | quote }}
    {{- with .state }}
    - {{ . }}
    {{- end }}
{{- end }}

{{/* Probes of what runs on every node, of its role: patient, for where a disk hangs no probe can be started either, and what is
in memory and goes on is the one to tell of it. */}}
{{- define "nodetell.nodeProbes" -}}
startupProbe:
  {{- include "nodetell.alive" (dict "role" . "seconds" 300) | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 30
  failureThreshold: 30
livenessProbe:
  {{- include "nodetell.alive" (dict "role" . "seconds" 300) | nindent 2 }}
  periodSeconds: 60
  timeoutSeconds: 30
  failureThreshold: 10
{{- end }}

{{- define "nodetell.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Variables of a container, of a dict of own, a list of those of the chart, and more, a map that replaces and adds. */}}
{{- define "nodetell.env" -}}
{{- $more := .more -}}
{{- $all := list -}}
{{- range .own }}{{ if not (hasKey $more .name) }}{{ $all = append $all . }}{{ end }}{{ end -}}
{{- range $name, $value := $more -}}
{{- /* 1000000 is a float here, and toString would make 1e+06 of it. */ -}}
{{- $all = append $all (dict "name" $name "value" (kindIs "string" $value | ternary $value (toJson $value))) -}}
{{- end -}}
{{- toYaml $all }}
{{- end }}

{{/* The binding of a role to the aggregator, of a dict of root, kind and name of the role: what follows the metadata. */}}
{{- define "nodetell.bound" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ include "nodetell.wide" . }}
subjects:
  - kind: ServiceAccount
    name: nodetell-aggregator
    namespace: {{ .root.Release.Namespace | quote }}
{{- end }}
