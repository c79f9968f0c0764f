{{/* What a schema cannot say: of one value with another, of names that are put together. Each fails with the path of the
value and a sentence. Of: root. */}}

{{- define "trunkline.checks" -}}
{{- include "trunkline.checkName" . -}}
{{- include "trunkline.checkNamespaces" . -}}
{{- include "trunkline.checkLabels" . -}}
{{- include "trunkline.checkGateway" . -}}
{{- $tls := .Values.tls.certManager -}}
{{- if le (int64 (include "trunkline.seconds" $tls.duration)) (int64 (include "trunkline.seconds" $tls.renewBefore)) -}}
{{- fail "tls.certManager.renewBefore: must be shorter than tls.certManager.duration" -}}
{{- end -}}
{{- range $component := list "operator" "gateway" -}}
{{- $of := dict "root" $ "component" $component -}}
{{- include "trunkline.checkRollout" $of -}}
{{- include "trunkline.checkExtras" $of -}}
{{- end -}}
{{- end -}}

{{- define "trunkline.checkName" -}}
{{- $name := include "trunkline.fullname" . -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- fail (printf "fullnameOverride: objects of the release %s would be called %s-…, which no Service can be: a name begins with a letter and has no dots. Set fullnameOverride, or call the release otherwise" .Release.Name $name) -}}
{{- end -}}
{{- end -}}

{{- define "trunkline.checkNamespaces" -}}
{{- range .Values.watch.platformNamespaces -}}
{{- if and $.Values.watch.namespaces (not (has . $.Values.watch.namespaces)) -}}
{{- fail (printf "watch.platformNamespaces: %s is not among watch.namespaces, so nothing in it would be seen" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "trunkline.checkLabels" -}}
{{- $values := .Values -}}
{{- $all := dict "commonLabels" $values.commonLabels "gateway.service.labels" $values.gateway.service.labels "monitoring.extraLabels" $values.monitoring.extraLabels -}}
{{- range $component := list "operator" "gateway" -}}
{{- range $labels := list "podLabels" "deploymentLabels" -}}
{{- $_ := set $all (printf "%s.%s" $component $labels) (index $values $component $labels) -}}
{{- end -}}
{{- end -}}
{{- $ours := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/managed-by" "helm.sh/chart" -}}
{{- range $path, $labels := $all -}}
{{- range $key, $_ := (default dict $labels) -}}
{{- if has $key $ours -}}
{{- fail (printf "%s: the label %s is the chart's own: selectors and Helm go by it" $path $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "trunkline.checkGateway" -}}
{{- $scaling := .Values.gateway.autoscaling -}}
{{- if and $scaling.enabled (gt (int64 $scaling.minReplicas) (int64 $scaling.maxReplicas)) -}}
{{- fail (printf "gateway.autoscaling.minReplicas: %v is more than maxReplicas, %v" $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
{{- $service := .Values.gateway.service -}}
{{- if and (eq $service.type "ClusterIP") (or $service.nodePort $service.externalTrafficPolicy) -}}
{{- fail (printf "gateway.service.%s: is of the types NodePort and LoadBalancer, and gateway.service.type is ClusterIP" (ternary "nodePort" "externalTrafficPolicy" (not (not $service.nodePort)))) -}}
{{- end -}}
{{- if and (ne $service.type "LoadBalancer") (or $service.loadBalancerClass $service.loadBalancerSourceRanges) -}}
{{- fail (printf "gateway.service.%s: is of the type LoadBalancer, and gateway.service.type is %s" (ternary "loadBalancerClass" "loadBalancerSourceRanges" (not (not $service.loadBalancerClass))) $service.type) -}}
{{- end -}}
{{- range .Values.gateway.trustedProxies -}}
{{- if regexMatch "^[0-9.]+/[0-9]+$" . -}}
{{- $network := splitList "/" . -}}
{{- $number := 0 -}}
{{- range splitList "." (first $network) }}{{ $number = add (mul $number 256) (int64 .) }}{{ end -}}
{{- $size := 1 -}}
{{- range until (sub 32 (int64 (last $network)) | int) }}{{ $size = mul $size 2 }}{{ end -}}
{{- if mod $number $size -}}
{{- fail (printf "gateway.trustedProxies: %s has bits behind its prefix: a network such as 10.0.0.0/8, or one address, is wanted" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Of: root, component. */}}
{{- define "trunkline.checkRollout" -}}
{{- $rollout := (index .root.Values .component).rollout -}}
{{- if and (regexMatch "^0+%?$" (toString $rollout.maxSurge)) (regexMatch "^0+%?$" (toString $rollout.maxUnavailable)) -}}
{{- fail (printf "%s.rollout: maxSurge and maxUnavailable are both 0, and no rollout could begin" .component) -}}
{{- end -}}
{{- end -}}

{{/* What is added to a pod must not be there already. A name that is a template is compared as it is written.
Of: root, component. */}}
{{- define "trunkline.checkExtras" -}}
{{- $component := .component -}}
{{- $values := index .root.Values $component -}}
{{- $isGateway := eq $component "gateway" -}}

{{- $seen := list "POD_NAME" -}}
{{- if not $isGateway }}{{ $seen = concat $seen (list "POD_NAMESPACE" "POD_UID") }}{{ end -}}
{{- if $isGateway -}}
{{- range (include "trunkline.redisEnv" .root | fromYamlArray) }}{{ $seen = append $seen .name }}{{ end -}}
{{- end -}}
{{- range $values.extraEnv -}}
{{- if has .name $seen -}}
{{- fail (printf "%s.extraEnv: %s is there already; the chart sets %s" $component .name (join ", " $seen)) -}}
{{- end -}}
{{- $seen = append $seen .name -}}
{{- end -}}

{{- $volumes := $isGateway | ternary (list "ca" "token" "state" "tmp") (list "tls" "token" "tmp") -}}
{{- range $values.extraVolumes -}}
{{- if has .name $volumes -}}
{{- fail (printf "%s.extraVolumes: there is a volume %s already" $component .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}

{{- $paths := list "/tmp" "/var/run/secrets/trunkline" -}}
{{- $paths = concat $paths ($isGateway | ternary (list "/etc/trunkline/ca" "/var/lib/trunkline") (list "/var/lib/trunkline/tls")) -}}
{{- range $values.extraVolumeMounts -}}
{{- if has (trimSuffix "/" .mountPath) $paths -}}
{{- fail (printf "%s.extraVolumeMounts: something is mounted at %s already" $component .mountPath) -}}
{{- end -}}
{{- $paths = append $paths (trimSuffix "/" .mountPath) -}}
{{- if not (or (has .name $volumes) (contains "{{" (join "" $volumes))) -}}
{{- fail (printf "%s.extraVolumeMounts: there is no volume %s" $component .name) -}}
{{- end -}}
{{- end -}}

{{- $given := list -}}
{{- range regexFindAll "(?m)^- --[a-z-]+" (include (printf "trunkline.args.%s" $component) .root) -1 -}}
{{- $given = append $given (trimPrefix "- " .) -}}
{{- end -}}
{{- range $values.extraArgs -}}
{{- $flag := regexFind "^--[a-z-]+" . -}}
{{- /* That one may be given several times, whether the chart gives it or not. */ -}}
{{- if and (has $flag $given) (ne $flag "--tls-name") -}}
{{- fail (printf "%s.extraArgs: the chart sets %s from other values" $component $flag) -}}
{{- end -}}
{{- end -}}
{{- end -}}
