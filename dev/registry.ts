import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GuardedServer } from './guarded.ts'
import { findJava } from './java.ts'
import { mavenFolder } from './maven.ts'
import { freePorts } from './ports.ts'
import { untilReady } from './ready.ts'

const JAR = 'apicurio-registry-app-3.0.9-runner.jar'
const START_TIMEOUT_MS = 90_000

/** A running schema registry. */
export interface Registry {
  /** Base of its Confluent-compatible API, without a slash at the end. */
  readonly url: string
  /** Ends it; what was registered is gone. May be called again. */
  stop(): Promise<void>
}

/**
 * Starts Apicurio Registry on a free port of 127.0.0.1, empty, in memory, with Confluent's default compatibility, and
 * resolves when it answers. It stops with this process, however that ends. Throws as `startBroker` does.
 */
export async function startRegistry(options: { readonly report?: (line: string) => void } = {}): Promise<Registry> {
  const java = await findJava()
  const jars = await mavenFolder('registry', options.report ?? (() => {}))
  const [port] = (await freePorts(1)) as [number]
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`

  const folder = await mkdtemp(join(tmpdir(), 'sluice-registry-'))
  const server = new GuardedServer(folder)
  try {
    const logFile = join(folder, 'registry.log')
    await server.start(java, [...jvmFlags(port, folder), '-jar', join(jars, JAR)], logFile)
    await untilReady(server, { name: `The registry at ${url}`, logFile, timeoutMs: START_TIMEOUT_MS }, () =>
      configure(url),
    )
  } catch (error) {
    await server.close()
    throw error
  }
  return { url, stop: () => server.close() }
}

function jvmFlags(port: number, folder: string): string[] {
  return [
    '-Xmx256m',
    '-XX:+UseSerialGC',
    `-Djava.io.tmpdir=${folder}`,
    '-Dquarkus.http.host=127.0.0.1',
    `-Dquarkus.http.port=${port}`,
  ]
}

// Confluent's registry checks BACKWARD unless told otherwise, Apicurio's checks nothing.
async function configure(url: string): Promise<void> {
  const response = await fetch(`${url}/config`, {
    method: 'PUT',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ compatibility: 'BACKWARD' }),
    signal: AbortSignal.timeout(5_000),
  })
  if (!response.ok) throw new Error(`PUT /config: ${response.status} ${await response.text()}`)
}
