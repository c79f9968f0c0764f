{{/* What the pods of both Deployments have in common. Each takes a dict of root and component. */}}

{{/* Fields of the Deployment's spec. */}}
{{- define "trunkline.rollout" -}}
{{- $values := index .root.Values .component -}}
minReadySeconds: {{ $values.minReadySeconds }}
revisionHistoryLimit: {{ $values.revisionHistoryLimit }}
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxSurge: {{ $values.rollout.maxSurge }}
    maxUnavailable: {{ $values.rollout.maxUnavailable }}
selector:
  matchLabels:
    {{- include "trunkline.selector" . | nindent 4 }}
{{- end -}}

{{/* metadata of the pod template. */}}
{{- define "trunkline.podMetadata" -}}
{{- $values := index .root.Values .component -}}
annotations:
  kubectl.kubernetes.io/default-container: {{ .component }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "trunkline.podLabels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Pull secrets and the security context, which the test's pod has too. Of: root. */}}
{{- define "trunkline.podSecurity" -}}
{{- $names := list -}}
{{- range concat .root.Values.global.imagePullSecrets .root.Values.imagePullSecrets -}}
{{- $names = append $names (kindIs "string" . | ternary . (dig "name" "" (kindIs "string" . | ternary dict .))) -}}
{{- end -}}
{{- with uniq $names }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with .root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Fields of the pod's spec that say where and how it runs. */}}
{{- define "trunkline.scheduling" -}}
{{- $values := index .root.Values .component -}}
{{- $selector := include "trunkline.selector" . | fromYaml -}}
{{- include "trunkline.podSecurity" . | trim }}
# A Service called trunkline would add variables that look like our own.
enableServiceLinks: false
{{- if kindIs "bool" $values.hostUsers }}
hostUsers: {{ $values.hostUsers }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
{{- $constraints := list }}
{{- range . }}
{{- $filled := dict "labelSelector" (dict "matchLabels" $selector) "matchLabelKeys" (list "pod-template-hash") }}
{{- range $key, $value := . }}{{- $_ := set $filled $key $value }}{{- end }}
{{- $constraints = append $constraints $filled }}
{{- end }}
topologySpreadConstraints:
{{- toYaml $constraints | nindent 0 }}
{{- end }}
{{- with $values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* image and security of a component's container. */}}
{{- define "trunkline.container" -}}
{{- $values := index .root.Values .component -}}
image: {{ include "trunkline.image" (dict "root" .root "image" $values.image) }}
imagePullPolicy: {{ default .root.Values.image.pullPolicy $values.image.pullPolicy }}
{{- with .root.Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "trunkline.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}

{{- define "trunkline.extraArgs" -}}
{{- range (index .root.Values .component).extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "trunkline.extraEnv" -}}
{{- with (index .root.Values .component).extraEnv }}
{{- tpl (toYaml .) $.root }}
{{- end }}
{{- end -}}

{{/* The projected token that a pod shows to an operator; bound to the pod and to the audience. */}}
{{- define "trunkline.tokenVolume" -}}
- name: token
  projected:
    defaultMode: 0440
    sources:
    - serviceAccountToken:
        audience: trunkline
        expirationSeconds: 3600
        path: token
{{- end -}}

{{/* A PodDisruptionBudget. */}}
{{- define "trunkline.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "trunkline.fullname" .root }}-{{ .component }}
  namespace: {{ include "trunkline.namespace" .root }}
  labels:
    {{- include "trunkline.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ (index .root.Values .component).pdb.maxUnavailable }}
  # A pod that does not serve must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "trunkline.selector" . | nindent 6 }}
{{- end -}}

{{- define "trunkline.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "trunkline.serviceAccountName" . }}
  namespace: {{ include "trunkline.namespace" .root }}
  labels:
    {{- include "trunkline.labels" . | nindent 4 }}
  {{- with (index .root.Values .component).serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
