{{/* The variable with Redis' URL, where there is one. A URL with a password stands in a Secret, or is put together by the
kubelet from one. */}}
{{- define "trunkline.redisEnv" -}}
{{- $redis := .Values.redis -}}
{{- if $redis.bundled.enabled -}}
{{- $host := printf "%s-redis:6379/0" (include "trunkline.fullname" .) -}}
{{- if $redis.bundled.passwordSecret.name -}}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $redis.bundled.passwordSecret.name | toYaml }}, key: {{ $redis.bundled.passwordSecret.key | toYaml }}}}
- name: TRUNKLINE_REDIS_URL
  value: redis://:$(REDIS_PASSWORD)@{{ $host }}
{{- else -}}
- name: TRUNKLINE_REDIS_URL
  value: redis://{{ $host }}
{{- end -}}
{{- else if $redis.existingSecret.name -}}
- name: TRUNKLINE_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ $redis.existingSecret.name | toYaml }}, key: {{ $redis.existingSecret.key | toYaml }}}}
{{- else if $redis.url -}}
- name: TRUNKLINE_REDIS_URL
  value: {{ $redis.url | toYaml }}
{{- end -}}
{{- end -}}
