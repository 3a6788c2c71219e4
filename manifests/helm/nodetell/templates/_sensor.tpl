{{/* The sensor's container: it alone has capabilities, and the agent asks it over a socket that the two share. */}}
{{- define "nodetell.sensor" -}}
{{- $own := list (dict "name" "NODETELL_SENSOR_PROC" "value" "/host/proc") }}
{{- $own = append $own (dict "name" "NODETELL_SENSOR_SYS" "value" "/host/sys") }}
{{- $own = append $own (dict "name" "NODETELL_SENSOR_SCRATCH_DIRECTORY" "value" "/scratch") }}
{{- $own = append $own (dict "name" "NODETELL_SENSOR_ALIVE_FILE" "value" "/run/nodetell/sensor.alive") -}}
- name: sensor
  {{- include "nodetell.pulled" . | nindent 2 }}
  args: [sensor]
  env:
    {{- include "nodetell.env" (dict "own" $own "more" .Values.sensor.env) | nindent 4 }}
  {{- include "nodetell.nodeProbes" "sensor" | nindent 2 }}
  securityContext:
    # Capabilities go to root alone, for no container of Kubernetes gets ambient ones.
    runAsNonRoot: false
    runAsUser: 0
    runAsGroup: 65534
    {{- include "nodetell.containerSecurity" . | nindent 4 }}
      # BPF to load programs, PERFMON to attach them and read what they see. Kernels before 5.11 ask for SYS_RESOURCE
      # besides, and distributions that patch perf_event_paranoid above 2 for SYS_ADMIN.
      add: [BPF, PERFMON]
  resources:
    {{- toYaml .Values.sensor.resources | nindent 4 }}
  volumeMounts:
    - {name: run, mountPath: /run/nodetell}
    - {name: proc, mountPath: /host/proc, readOnly: true}
    - {name: sys, mountPath: /host/sys, readOnly: true}
    - {name: tracing, mountPath: /sys/kernel/tracing, readOnly: true}
    - {name: scratch, mountPath: /scratch}
{{- end }}
