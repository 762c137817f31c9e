import Connection from 'kafkajs/src/network/connection.js'

/**
 * kafkajs copies a request twice on its way to the socket, each time into new memory that it fills with zeros first: of a
 * Produce request, megabytes. Here a request may come in pieces, which are written to the socket as they are, one behind
 * the other. Everything else about it is kafkajs's business: the queue, time-outs, throttling, authentication.
 */
interface PiecedExchange<T> {
  readonly request: PiecedRequest
  readonly response: KafkajsProtocolResponse<T>
  readonly requestTimeout?: number | null
}

/** A request of which kafkajs has the encoded form too, for whoever does not go by a socket. */
export interface PiecedRequest extends KafkajsProtocolRequest {
  /** The body. Nobody may write to the pieces before the answer has come; and never, when none does. */
  readonly pieces: readonly Uint8Array[]
}

const { send } = Connection.prototype

Connection.prototype.send = async function sendPieces<T>(
  this: KafkajsConnection,
  exchange: PiecedExchange<T>,
): Promise<T> {
  const { request, response, requestTimeout = null } = exchange
  if (request.pieces === undefined) return send.call(this, exchange) as Promise<T>
  if (!this.isAuthenticated()) await this.authenticate()
  this.failIfNotConnected()
  const { apiKey, apiName, apiVersion } = request
  const correlationId = this.nextCorrelationId()
  const pieces = [headOf(request, correlationId, this.clientId), ...request.pieces]
  const { payload } = await new Promise<{ payload: Buffer }>((resolve, reject) => {
    this.requestQueue.push({
      entry: { apiKey, apiName, apiVersion, correlationId, resolve, reject },
      expectResponse: true,
      requestTimeout,
      sendRequest: () => writeAll(this.socket, pieces),
    })
  })
  const decoded = await response.decode(payload)
  this.requestQueue.maybeThrottle((decoded as { clientSideThrottleTime?: number }).clientSideThrottleTime)
  return response.parse(decoded)
}

/** Corked, so that they go to the system in one call. */
function writeAll(socket: KafkajsConnection['socket'], pieces: readonly Uint8Array[]): void {
  socket.cork()
  for (const piece of pieces) socket.write(piece)
  socket.uncork()
}

/** The length of what follows, and a request header of version 1 (https://kafka.apache.org/protocol#protocol_messages). */
function headOf({ apiKey, apiVersion, pieces }: PiecedRequest, correlationId: number, clientId: string): Buffer {
  const clientIdBytes = Buffer.byteLength(clientId)
  const head = Buffer.allocUnsafe(4 + 2 + 2 + 4 + 2 + clientIdBytes)
  const body = pieces.reduce((bytes, { length }) => bytes + length, 0)
  let at = head.writeInt32BE(head.length - 4 + body, 0)
  at = head.writeInt16BE(apiKey, at)
  at = head.writeInt16BE(apiVersion, at)
  at = head.writeInt32BE(correlationId, at)
  at = head.writeInt16BE(clientIdBytes, at)
  head.write(clientId, at)
  return head
}
