import type { Socket } from 'node:net'
import swagger from '@fastify/swagger'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, messageOf, SluiceError } from '../core/errors.ts'
import type { Admission, InferAnswer, InferenceApi } from '../core/inference-api.ts'
import type { Log } from '../core/log.ts'
import { decodedBody } from './content-encoding.ts'
import {
  inferSchema,
  liveSchema,
  metadataSchema,
  modelReadySchema,
  serverReadySchema,
  serverSchema,
} from './inference-schemas.ts'

const HEADER_LENGTH = 'inference-header-content-length'

/** Where a request has its `Account`. */
const ACCOUNT = 'account'

/** For a client that was refused for now. */
const RETRY_AFTER_S = 1

const STATUS: Partial<Record<ErrorCode, number>> = {
  'request-invalid': 400,
  'request-failed': 400,
  'version-not-served': 404,
  'request-too-large': 413,
  overloaded: 503,
  'deadline-exceeded': 503,
  'not-ready': 503,
  'requests-hung': 503,
}

interface ModelPath {
  readonly model: string
  readonly version?: string
}

type ModelRequest = FastifyRequest<{ Params: ModelPath }>

interface InferenceOptions {
  readonly release: string
  readonly log: Log
}

/**
 * The Open Inference Protocol v2, in a context of its own: bodies are taken as they are, errors are `{"error": "…"}`, and what
 * is under way is counted from the request's headers to the last byte of its answer.
 */
export async function addInference(
  app: FastifyInstance,
  api: InferenceApi,
  { release, log }: InferenceOptions,
): Promise<void> {
  await app.register(async scope => {
    await scope.register(swagger, {
      openapi: {
        openapi: '3.0.3',
        info: {
          title: 'Sluice inference API',
          description: 'Open Inference Protocol v2, with the binary tensor extension.',
          version: release,
        },
      },
    })
    scope.setErrorHandler<Error>((error, { url }, reply) => {
      const inside = refuse(reply, error)
      if (inside) log.error({ error, url }, 'a request for inference failed')
    })
    scope.addHook('onSend', (_request, reply, _payload, done) => {
      reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
      done()
    })
    // The schemas are for people; tensors are checked against the model.
    scope.setValidatorCompiler(() => () => true)
    addServer(scope, api, release)
    for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) addModel(scope, api, path)
    let document: object | undefined
    scope.get('/v2/openapi.json', { schema: { hide: true } }, async () => {
      document ??= scope.swagger()
      return document
    })
  })
}

function addServer(scope: FastifyInstance, api: InferenceApi, release: string): void {
  const metadata = { name: 'sluice', version: release, extensions: ['binary_tensor_data'] }
  scope.get('/v2', { schema: serverSchema }, async () => metadata)
  scope.get('/v2/health/live', { schema: liveSchema }, async () => ({ live: true }))
  scope.get('/v2/health/ready', { schema: serverReadySchema }, async (_request, reply) =>
    reply.code(api.ready ? 200 : 503).send({ ready: api.ready }),
  )
}

function addModel(scope: FastifyInstance, api: InferenceApi, path: string): void {
  const withVersion = path.endsWith(':version')
  scope.get(path, { schema: metadataSchema(withVersion) }, async (request: ModelRequest) =>
    api.metadata(request.params.model, request.params.version),
  )
  scope.get(`${path}/ready`, { schema: modelReadySchema(withVersion) }, async (request: ModelRequest) => {
    const { model, version } = request.params
    api.requireReady(model, version)
    return { name: model, ready: true }
  })
  void scope.register(async infer => addInfer(infer, api, `${path}/infer`, withVersion))
}

/** Routes whose bodies are for the API alone. */
function addInfer(scope: FastifyInstance, api: InferenceApi, path: string, withVersion: boolean): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  // Declared before any request is made, so that all of them have one shape.
  scope.decorateRequest(ACCOUNT, null)
  scope.addHook('onRequest', (request, reply, done) => {
    try {
      // How large a compressed body is, is known when it is unpacked.
      const packed = (request.headers['content-encoding'] ?? 'identity') !== 'identity'
      const account = new Account(api.enter(packed ? undefined : lengthOf(request, 'content-length')))
      request.setDecorator(ACCOUNT, account)
      // When the last byte is out, and also when the client goes before its own last byte has come.
      reply.raw.once('close', () => account.close())
      reply.raw.on('timeout', cutOffIfStalled)
      done()
    } catch (error) {
      done(error as Error)
    }
  })
  scope.addHook('preParsing', (request, reply, payload, done) => {
    try {
      done(null, decodedBody(payload, request.headers['content-encoding'], reply.raw))
    } catch (error) {
      done(error as Error)
    }
  })
  const options = { schema: inferSchema(withVersion), bodyLimit: api.maxBodyBytes }
  scope.post(path, options, (request: ModelRequest, reply) => {
    const { model, version } = request.params
    const { body } = request
    const { socket } = request.raw
    const account = request.getDecorator<Account>(ACCOUNT)
    const headerLength = lengthOf(request, HEADER_LENGTH)
    account.begin()
    api.infer({
      model,
      version,
      body: Buffer.isBuffer(body) ? body : Buffer.alloc(0),
      headerLength,
      abandoned: () => socket.destroyed,
      answer: answer => {
        account.end(answer.body.length)
        send(reply, answer)
      },
      refuse: error => {
        account.end()
        void reply.send(error)
      },
    })
  })
}

/** Nothing was sent or received for a while: a model may take so long, but not a client whose answer is there. */
function cutOffIfStalled(socket: Socket): void {
  if (socket.writableLength > 0) socket.destroy()
}

/** A request counts until its reply is closed and its job is over: the work of a client that has gone may go on. */
class Account {
  readonly #admission: Admission
  #closed = false
  #running = false

  constructor(admission: Admission) {
    this.#admission = admission
  }

  begin(): void {
    this.#running = true
  }

  /** @param bytes of the answer, if there is one; characters of JSON are nearly all of one byte */
  end(bytes = 0): void {
    this.#running = false
    if (this.#closed) this.#admission.leave()
    else this.#admission.answered(bytes)
  }

  close(): void {
    this.#closed = true
    if (!this.#running) this.#admission.leave()
  }
}

function send(reply: FastifyReply, { body, headerLength }: InferAnswer): void {
  if (headerLength === undefined) void reply.type('application/json; charset=utf-8').send(body)
  else void reply.type('application/octet-stream').header(HEADER_LENGTH, headerLength).send(body)
}

/**
 * Errors of ours, and those of the server: a body that is too large, one that was cut off.
 * @returns whether it tells of the inside, which is not for the client
 */
function refuse(reply: FastifyReply, error: Error & { statusCode?: number }): boolean {
  const code = error instanceof SluiceError ? (STATUS[error.code] ?? 500) : (error.statusCode ?? 500)
  const inside = code >= 500 && code !== 503
  if (code === 503) reply.header('retry-after', RETRY_AFTER_S)
  const said = inside ? 'internal error: the request failed, and the log of this process says why' : messageOf(error)
  void reply
    .code(code)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ error: said }))
  return inside
}

/** @throws SluiceError `request-invalid` */
function lengthOf({ headers }: FastifyRequest, name: string): number | undefined {
  const text = headers[name]
  if (text === undefined) return undefined
  const length = Number(text)
  if (Number.isSafeInteger(length) && length >= 0) return length
  throw new SluiceError('request-invalid', `${name} is "${text}", expected a number of bytes`)
}
