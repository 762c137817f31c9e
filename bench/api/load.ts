import { Client } from 'undici'

/** What is asked again and again. */
export interface ApiRequest {
  readonly path: string
  readonly body: Buffer
  readonly headers: Readonly<Record<string, string>>
}

/** What a while of load came to. */
export interface LoadResult {
  readonly connections: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/**
 * A closed loop: so many connections, each of which asks anew when it has its answer, for `ms`. Only what is answered within
 * that counts.
 * @throws Error when an answer has another status than 200
 */
export async function load(url: string, request: ApiRequest, connections: number, ms: number): Promise<LoadResult> {
  const latencies: number[] = []
  const startedAt = performance.now()
  const endsAt = startedAt + ms
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const client = new Client(url, { pipelining: 1 })
      try {
        while (performance.now() < endsAt) {
          const sentAt = performance.now()
          await ask(client, request)
          const now = performance.now()
          if (now <= endsAt) latencies.push(now - sentAt)
        }
      } finally {
        await client.destroy()
      }
    }),
  )
  latencies.sort((a, b) => a - b)
  const at = (share: number) =>
    latencies[Math.min(latencies.length - 1, Math.floor(share * latencies.length))] ?? Number.NaN
  return { connections, perSecond: (1000 * latencies.length) / ms, p50Ms: at(0.5), p99Ms: at(0.99) }
}

/** Undici's handlers instead of its promises: what the generator takes, the servers lack. */
function ask(client: Client, { path, body, headers }: ApiRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    let status = 0
    client.dispatch(
      { method: 'POST', path, body, headers },
      {
        onRequestStart: () => {},
        onResponseStart: (_controller, code) => {
          status = code
        },
        onResponseData: () => {},
        onResponseEnd: () => (status === 200 ? resolve() : reject(new Error(`${path} was answered with ${status}`))),
        onResponseError: (_controller, error) => reject(error),
      },
    )
  })
}
