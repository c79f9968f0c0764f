{{/* Flags of the programs, but for extraArgs. Each takes the root. */}}

{{- define "trunkline.args.gateway" -}}
{{- $values := .Values.gateway }}
- --operator={{ include "trunkline.operatorHost" . }}:8443
- --ca-file=/etc/trunkline/ca/ca.crt
- --token-file=/var/run/secrets/trunkline/token
- --state-dir=/var/lib/trunkline
{{- /* The token says which pod it is, and the operator compares. */}}
- --node-name=$(POD_NAME)
- --port=8080
- --admin-port=9090
- --drain-delay={{ $values.drainDelay }}
- --shutdown-grace={{ $values.shutdownGrace }}
- --max-body-bytes={{ include "trunkline.number" $values.maxBodyBytes }}
- --max-in-flight={{ include "trunkline.number" $values.maxInFlight }}
- --connect-timeout={{ $values.timeouts.connect }}
- --first-byte-timeout={{ $values.timeouts.firstByte }}
- --stream-idle-timeout={{ $values.timeouts.streamIdle }}
- --total-timeout={{ $values.timeouts.total }}
{{- if $values.fetchImageURLs }}
- --fetch-image-urls
{{- end }}
{{- range $values.trustedProxies }}
- --trusted-proxy={{ . }}
{{- end }}
- --log-level={{ $values.logLevel }}
- --log-format={{ $values.logFormat }}
{{- end -}}

{{- define "trunkline.args.operator" -}}
{{- $name := printf "%s-operator" (include "trunkline.fullname" .) }}
{{- $namespace := include "trunkline.namespace" . }}
{{- $values := .Values.operator }}
- --gateway-service-account={{ $namespace }}/{{ include "trunkline.serviceAccountName" (dict "root" . "component" "gateway") }}
- --operator-service-account={{ $namespace }}/{{ include "trunkline.serviceAccountName" (dict "root" . "component" "operator") }}
- --tls-dir=/var/lib/trunkline/tls
{{- if ne $name "trunkline-operator" }}
- --tls-name={{ include "trunkline.operatorHost" . }}
{{- end }}
{{- if eq .Values.tls.mode "operator" }}
- --tls-secret={{ $namespace }}/{{ $name }}-tls
- --ca-configmap={{ $namespace }}/{{ $name }}-ca
{{- end }}
- --lease={{ $namespace }}/{{ $name }}
- --peer-token-file=/var/run/secrets/trunkline/token
{{- /* The one name that is in the certificate in every tls.mode. */}}
- --peer-tls-name={{ include "trunkline.operatorHost" . }}
{{- range .Values.watch.namespaces }}
- --namespace={{ . }}
{{- end }}
{{- range .Values.watch.platformNamespaces }}
- --platform-namespace={{ . }}
{{- end }}
- --grpc-port=8443
- --admin-port=9090
- --log-level={{ $values.logLevel }}
- --log-format={{ $values.logFormat }}
{{- end -}}

{{/* How many gateways the Deployment says; empty: nothing, and whoever scales it has the number to himself. With an
autoscaler that is not enough for an upgrade: a number that was in the release before and is in it no more is taken away,
and the API server would put its default in its place, 1. So the number that the cluster has is said again. This is the
chart's one look into the cluster, and it changes nothing there: without a cluster to look into (helm template, Argo CD,
a first installation) the field is left out, and what it finds is what stays. */}}
{{- define "trunkline.gatewayReplicas" -}}
{{- $values := .Values.gateway -}}
{{- if not $values.autoscaling.enabled -}}
{{- $values.replicas -}}
{{- else -}}
{{- $name := printf "%s-gateway" (include "trunkline.fullname" .) -}}
{{- with lookup "apps/v1" "Deployment" (include "trunkline.namespace" .) $name -}}
{{- max (int64 (dig "spec" "replicas" 1 .)) (int64 $values.autoscaling.minReplicas) -}}
{{- end -}}
{{- end -}}
{{- end -}}
