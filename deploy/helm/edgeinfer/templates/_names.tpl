{{- define "edgeinfer.selector" -}}
app.kubernetes.io/name: edgeinfer
{{- if ne .Release.Name "edgeinfer" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end }}

{{- define "edgeinfer.labels" -}}
{{ include "edgeinfer.selector" . }}
app.kubernetes.io/part-of: edgeinfer
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
