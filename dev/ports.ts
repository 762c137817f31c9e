import { createServer } from 'node:net'

// Below the ports that Linux (32768+) and macOS (49152+) hand to outgoing connections: a broker that is down for a
// moment must find its port free when it comes back, and a client's own connection must not have taken it meanwhile.
const FIRST = 20_000
const LAST = 32_000

/** Distinct TCP ports that were free on 127.0.0.1 a moment ago. Nothing reserves them: use them at once. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  for (let attempt = 0; attempt < 200 && ports.size < count; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST))
    if (!ports.has(port) && (await isFree(port))) ports.add(port)
  }
  if (ports.size < count) throw new Error(`No ${count} free TCP ports between ${FIRST} and ${LAST} on 127.0.0.1.`)
  return [...ports]
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
