import { stockFrame } from './stock.ts'

interface Exchange {
  readonly request: KafkajsProtocolRequest
  readonly response: KafkajsProtocolResponse<{ clientSideThrottleTime: number }>
}

/** What was sent. */
interface Sent {
  /** The request as it goes to the socket, framed by kafkajs: as it was encoded when sent, or as another encodes it. */
  framed(other?: KafkajsProtocolRequest): Promise<Buffer>
  readonly api: string
  /** What comes after the request header that kafkajs writes. */
  readonly body: Buffer
}

const CLIENT_ID = 'sluice'
/** Size, API, version, correlation id, and the client id after its length. */
const HEADER_BYTES = 4 + 2 + 2 + 4 + 2 + CLIENT_ID.length

/** A broker that answers every request with `raw`, in the steps in which kafkajs's connection takes an answer. */
export function stubBroker(raw: Buffer): { broker: KafkajsBroker; requests: Sent[]; throttled: number[] } {
  const requests: Sent[] = []
  const throttled: number[] = []
  const frame = async (request: KafkajsProtocolRequest): Promise<Buffer> =>
    Buffer.from((await stockFrame({ correlationId: 77, clientId: CLIENT_ID, request })).buffer)
  const send = async ({ request, response }: Exchange) => {
    const encoded = await frame(request)
    requests.push({
      framed: async other => (other === undefined ? encoded : frame(other)),
      api: `${request.apiName} ${request.apiKey}/${request.apiVersion}`,
      body: encoded.subarray(HEADER_BYTES),
    })
    const decoded = await response.decode(raw)
    throttled.push(decoded.clientSideThrottleTime)
    return response.parse(decoded)
  }
  return { broker: { connectionPool: { send } } as unknown as KafkajsBroker, requests, throttled }
}
