# syntax=docker/dockerfile:1
FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev
# onnxruntime-node brings its library for every platform, 300 MB; one is needed.
RUN find node_modules/onnxruntime-node/bin/napi-v6 -mindepth 2 -maxdepth 2 -type d \
    ! -path "*/linux/$(node -p process.arch)" -exec rm -r {} +

FROM node:24.21.0-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production HTTP_HOST=0.0.0.0 HTTP_PORT=8080
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE* ./
COPY models models
COPY schemas schemas
COPY src src
# Compiles what there is, so that a container need not (.cache/compiled).
RUN node src/cli.ts --help
# What was downloaded from a bucket: a volume here lets a new container start while the bucket is away.
ENV MODEL_CACHE_DIR=/var/cache/sluice
RUN install -d -o 1000 -g 1000 /var/cache/sluice
# The image's user "node", by number so that Kubernetes' runAsNonRoot can tell.
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.HTTP_PORT + '/health/live').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "src/cli.ts"]
CMD ["worker"]
