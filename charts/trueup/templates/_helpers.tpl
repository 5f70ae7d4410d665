{{- /* The name of everything in this release: the release's own, with "trueup" in it. */}}
{{- define "trueup.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}
{{- else if contains "trueup" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-trueup" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* What selects the controller's pods; never changes, since Deployments cannot. */}}
{{- define "trueup.selector" -}}
app.kubernetes.io/name: trueup
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "trueup.labels" -}}
{{ include "trueup.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: trueup
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "trueup.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "trueup.name" .) }}
{{- end }}

{{- define "trueup.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{- /* "postgres" or "sqlite". Ends with an error where the values contradict each other in ways that a schema cannot say well. */}}
{{- define "trueup.ledger" -}}
{{- if .Values.ledger.postgres.secretName }}postgres
{{- else if gt (int .Values.replicas) 1 }}
{{- fail (printf "replicas is %d, but SQLite has one writer: set ledger.postgres.secretName to run several" (int .Values.replicas)) }}
{{- else }}sqlite
{{- end }}
{{- end }}

{{- define "trueup.claim" -}}
{{- .Values.ledger.sqlite.existingClaim | default (printf "%s-ledger" (include "trueup.name" .)) }}
{{- end }}

{{- /* What the PodSecurity standard "restricted" asks of a container, and a root file system that nobody can write to. */}}
{{- define "trueup.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "trueup.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}
