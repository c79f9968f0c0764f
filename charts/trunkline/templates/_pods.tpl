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
  {{- $own := dict "kubectl.kubernetes.io/default-container" .component }}
  {{- toYaml (mergeOverwrite $own (default dict $values.podAnnotations)) | nindent 2 }}
labels:
  {{- include "trunkline.podLabels" (dict "root" .root "component" .component "labels" $values.podLabels) | nindent 2 }}
{{- end -}}

{{/* Pull secrets and the security context, which the test's pod has too. Of: root. */}}
{{- define "trunkline.podSecurity" -}}
{{- $names := list -}}
{{- range concat (default list .root.Values.global.imagePullSecrets) (default list .root.Values.imagePullSecrets) -}}
{{- $names = append $names (kindIs "string" . | ternary . (dig "name" "" (kindIs "string" . | ternary dict .))) -}}
{{- end -}}
{{- with uniq $names }}
imagePullSecrets:
{{- range . }}
- name: {{ . | toYaml }}
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
{{- include "trunkline.placement" $values }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . | toYaml }}
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

{{/* On which nodes, and before whom. Of: nodeSelector, tolerations, priorityClassName. */}}
{{- define "trunkline.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . | toYaml }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
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
{{- if eq .component "gateway" -}}
# Asks for what readiness asks for, and is a command for the sake of what it prints: the kubelet shows the output of a
# command in the pod's Events, and of an HTTP probe the status only. A gateway that cannot reach its operator says why
# there. -S and a bare socket: 20 ms of Python each time, where http.client takes 60. It may fail for an hour: to be
# killed helps no gateway whose operator is away.
startupProbe:
  exec:
    command:
    - python3
    - -I
    - -S
    - -c
    - |
      import socket
      try:
          # Bytes, since a str would load the codec of international names.
          with socket.create_connection((b"localhost", 9090), 2) as admin:
              admin.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
              head, _, body = b"".join(iter(lambda: admin.recv(65536), b"")).partition(b"\r\n\r\n")
      except OSError as error:
          raise SystemExit(f"The admin port does not answer yet: {error.strerror or error}") from None
      if head.split()[1:2] != [b"200"]:
          raise SystemExit(body.decode(errors="replace")[:1000].strip() or "The admin port does not answer properly.")
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 1800
{{- else -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 120
{{- end }}
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
  namespace: {{ include "trunkline.namespace" .root | toYaml }}
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
  name: {{ include "trunkline.serviceAccountName" . | toYaml }}
  namespace: {{ include "trunkline.namespace" .root | toYaml }}
  labels:
    {{- include "trunkline.labels" . | nindent 4 }}
  {{- with (index .root.Values .component).serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
