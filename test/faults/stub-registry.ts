import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

const REGISTERED_ID = 77

/** As much of a Confluent-compatible registry as a worker needs, which can be away, broken, or of another opinion. */
export class StubRegistry {
  /** Answers as a proxy does whose registry is gone: 404 and a page. */
  broken = false
  /** How often each id was asked for. */
  readonly lookups = new Map<number, number>()
  readonly #schemas: Readonly<Record<number, object>>
  readonly #refusal: number | undefined
  #server: Server | undefined
  #port = 0

  /** @param refusal the status with which it answers to every registration, if not with an id */
  constructor(schemas: Readonly<Record<number, object>>, refusal?: number) {
    this.#schemas = schemas
    this.#refusal = refusal
  }

  /** Starts to listen, on the port of the last time if there was one; resolves to its base address. */
  async open(): Promise<string> {
    const server = createServer((request, response) => this.#answer(request, response)).listen(this.#port, '127.0.0.1')
    this.#server = server
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
    return `http://127.0.0.1:${this.#port}`
  }

  async close(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    server?.closeAllConnections()
    if (server !== undefined) await new Promise(resolve => server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    request.resume()
    const send = (status: number, body: object) => response.writeHead(status).end(JSON.stringify(body))
    if (this.broken) response.writeHead(404, { 'content-type': 'text/html' }).end('<p>no such page</p>')
    else if (request.method === 'POST') {
      if (this.#refusal === undefined) send(200, { id: REGISTERED_ID })
      else send(this.#refusal, { error_code: this.#refusal, message: 'incompatible with an earlier schema' })
    } else {
      const id = Number(/\/schemas\/ids\/(\d+)/.exec(request.url!)?.[1])
      this.lookups.set(id, (this.lookups.get(id) ?? 0) + 1)
      const schema = this.#schemas[id]
      if (schema === undefined) send(404, { error_code: 40403, message: 'Schema not found' })
      else send(200, { schema: JSON.stringify(schema) })
    }
  }
}
