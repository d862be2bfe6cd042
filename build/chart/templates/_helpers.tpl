{{- define "sluice.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- /* The folder of the node that holds Open vSwitch's sockets. */ -}}
{{- define "sluice.ovsRunDir" -}}
{{- if eq .Values.ovs.mode "host" -}}
{{ .Values.ovs.hostRunDir }}
{{- else if eq .Values.ovs.mode "pod" -}}
/run/sluice/openvswitch
{{- else -}}
{{ fail (printf "ovs.mode: %q is not pod or host" .Values.ovs.mode) }}
{{- end -}}
{{- end }}

{{- /* Whether the bridge's datapath may be the one in ovs-vswitchd. */ -}}
{{- define "sluice.userspace" -}}
{{- if ne (get .Values.agent.config "datapath") "system" -}}true{{- end -}}
{{- end }}
