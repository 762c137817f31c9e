import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { type FastifyInstance, fastify } from 'fastify'
import { messageOf, SluiceError } from '../core/errors.ts'
import type { InferenceApi } from '../core/inference-api.ts'
import type { Log } from '../core/log.ts'
import type { Health, HealthReport } from './health.ts'
import { addInference } from './inference-routes.ts'
import type { Metrics } from './metrics.ts'
import type { StatusBody, WorkerStatus } from './status.ts'

export interface HttpOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  readonly release: string
  readonly log: Log
  readonly health: Health
  readonly metrics: Metrics
  /** Asked at every request of `/status`; left out: there is no status page. */
  readonly status?: (() => WorkerStatus | Promise<WorkerStatus>) | undefined
  /** Models that can be asked over HTTP; undefined where that is turned off. */
  readonly api?: InferenceApi | undefined
  /** A client that takes no byte of its answer for so long is cut off. Default: 30 s. */
  readonly stallTimeoutMs?: number
}

export interface HttpServer {
  /** The port that was asked for, or the one that was picked. */
  readonly port: number
  /** Where the status page is: `http://127.0.0.1:8080`. */
  readonly url: string
  /** Ends open connections too. */
  close(): Promise<void>
}

/** Within this a client must have sent its request: one that dawdles would keep its place from others. */
const REQUEST_TIMEOUT_MS = 60_000

/** For a client that does not read: an answer that waits for it keeps its memory and its place. */
const STALL_TIMEOUT_MS = 30_000

/** Of a model or a version, percent-encoded. */
const LONGEST_NAME = 512

/**
 * Serves health, metrics, the status page and the inference API. Nothing in it is secret, nobody can change anything over
 * it, and nothing guards it but the address it listens on.
 * @throws SluiceError `invalid-config` when it cannot listen there.
 */
export async function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const { host, port, stallTimeoutMs = STALL_TIMEOUT_MS } = options
  const app = fastify({
    forceCloseConnections: true,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: stallTimeoutMs,
    routerOptions: { maxParamLength: LONGEST_NAME },
  })
  addFailures(app, options.log)
  // Before the headers of pages, which its answers do not need: each costs as much as a row.
  if (options.api !== undefined) await addInference(app, options.api, options)
  addHeaders(app)
  addHealth(app, options.health)
  addMetrics(app, options.metrics)
  if (options.status !== undefined) addStatus(app, options, options.status)
  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    throw cannotListen(error, host, port)
  }
  const address = app.server.address() as AddressInfo
  const shownHost = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return { port: address.port, url: `http://${shownHost}:${address.port}`, close: () => app.close() }
}

/** A page of ours loads nothing from elsewhere, and no page of others may frame it or read into it. */
function addHeaders(app: FastifyInstance): void {
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (!reply.hasHeader('content-security-policy')) {
      reply.header('content-security-policy', "default-src 'none'; frame-ancestors 'none'")
    }
    reply.headers({
      'cache-control': 'no-store',
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    })
    done()
  })
}

function addHealth(app: FastifyInstance, health: Health): void {
  const statusCode = (report: HealthReport) => (report.ok ? 200 : 503)
  app.get('/health/live', async (_request, reply) => {
    const report = health.live()
    return reply.code(statusCode(report)).send(report)
  })
  app.get('/health/ready', async (_request, reply) => {
    const report = health.ready()
    return reply.code(statusCode(report)).send(report)
  })
}

function addMetrics(app: FastifyInstance, metrics: Metrics): void {
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await metrics.expose()
    return reply.type(contentType).send(body)
  })
}

function addStatus(
  app: FastifyInstance,
  { release, health }: HttpOptions,
  status: NonNullable<HttpOptions['status']>,
): void {
  const page = readFileSync(new URL('./status.html', import.meta.url), 'utf8')
  const policy = pagePolicy(page)
  app.get('/', async (_request, reply) =>
    reply.type('text/html; charset=utf-8').header('content-security-policy', policy).send(page),
  )
  app.get('/status', async (): Promise<StatusBody> => {
    const uptime = Math.round(process.uptime())
    return { release, uptime, health: health.ready(), ...(await status()) }
  })
}

function addFailures(app: FastifyInstance, log: Log): void {
  app.setNotFoundHandler(async (request, reply) =>
    reply.code(404).send({ error: `nothing is served at ${request.method} ${request.url.split('?')[0]}` }),
  )
  app.setErrorHandler<Error & { statusCode?: number }>(async (error, request, reply) => {
    const code = error.statusCode ?? 500
    if (code >= 500) log.error({ error, url: request.url }, 'a request failed')
    return reply
      .code(code)
      .send({ error: code >= 500 ? 'the worker failed to answer; its log says why' : error.message })
  })
}

/** Lets exactly the script and the style that lie in the page run, by their hashes. */
function pagePolicy(page: string): string {
  const hashOf = (tag: string) => {
    const content = new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`).exec(page)![1]!
    return `'sha256-${createHash('sha256').update(content).digest('base64')}'`
  }
  return [
    "default-src 'none'",
    `script-src ${hashOf('script')}`,
    `style-src ${hashOf('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

function cannotListen(error: unknown, host: string, port: number): SluiceError {
  const reasons: Record<string, string> = {
    EADDRINUSE: `HTTP_PORT ${port} is in use on ${host}; choose another, or 0 for any free one`,
    EACCES: `HTTP_PORT ${port} needs more rights than this process has; choose one above 1023`,
  }
  const reason = reasons[(error as NodeJS.ErrnoException).code ?? '']
  const message = reason ?? `cannot listen on HTTP_HOST ${host}, HTTP_PORT ${port}: ${messageOf(error)}`
  return new SluiceError('invalid-config', message, { cause: error })
}
