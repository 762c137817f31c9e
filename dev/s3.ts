import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GuardedServer } from './guarded.ts'
import { findJava } from './java.ts'
import { mavenFolder } from './maven.ts'
import { freePorts } from './ports.ts'
import { untilReady } from './ready.ts'

const JAR = 's3proxy-4.0.0-jar-with-dependencies.jar'
const START_TIMEOUT_MS = 60_000

/** A running S3-compatible server. */
export interface S3Server {
  /** Without a slash at the end; buckets are named in the path. */
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** The folder that is the bucket `name`: a file in it is an object. */
  folderOf(name: string): string
  /** Ends it; what was put there is gone. May be called again. */
  stop(): Promise<void>
}

/**
 * Starts S3Proxy on a free port of 127.0.0.1, with empty buckets of the names given, and resolves when it answers. It checks
 * signatures and conditional writes. It stops with this process, however that ends. Throws as `startBroker` does.
 */
export async function startS3(
  buckets: readonly string[],
  options: { readonly report?: (line: string) => void } = {},
): Promise<S3Server> {
  const java = await findJava()
  const jars = await mavenFolder('s3', options.report ?? (() => {}))
  const [port] = (await freePorts(1)) as [number]
  const endpoint = `http://127.0.0.1:${port}`
  const identity = { accessKeyId: 'SLUICETESTKEY', secretAccessKey: 'the-secret-of-the-test-server' }

  const folder = await mkdtemp(join(tmpdir(), 'sluice-s3-'))
  const server = new GuardedServer(folder)
  const data = join(folder, 'data')
  try {
    for (const bucket of buckets) await mkdir(join(data, bucket), { recursive: true })
    const settings = join(folder, 's3.conf')
    await writeFile(settings, configuration(endpoint, identity, data))
    const logFile = join(folder, 's3.log')
    const command = ['-Xmx256m', '-XX:+UseSerialGC', '-jar', join(jars, JAR), '--properties', settings]
    await server.start(java, command, logFile)
    const starting = { name: `The S3 server at ${endpoint}`, logFile, timeoutMs: START_TIMEOUT_MS }
    await untilReady(server, starting, () => probe(endpoint))
  } catch (error) {
    await server.close()
    throw error
  }
  return {
    endpoint,
    ...identity,
    folderOf: name => join(data, name),
    stop: () => server.close(),
  }
}

function configuration(
  endpoint: string,
  { accessKeyId, secretAccessKey }: { accessKeyId: string; secretAccessKey: string },
  data: string,
): string {
  const settings = {
    's3proxy.endpoint': endpoint,
    's3proxy.authorization': 'aws-v2-or-v4',
    's3proxy.identity': accessKeyId,
    's3proxy.credential': secretAccessKey,
    // Else a session token would be one header too many.
    's3proxy.ignore-unknown-headers': 'true',
    'jclouds.provider': 'filesystem-nio2',
    'jclouds.filesystem.basedir': data,
  }
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}

// Any answer will do: without a signature it is a refusal.
async function probe(endpoint: string): Promise<void> {
  await fetch(endpoint, { signal: AbortSignal.timeout(5_000) })
}
