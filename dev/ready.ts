import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { GuardedServer } from './guarded.ts'
import { tail } from './java.ts'

const BETWEEN_TRIES_MS = 100
const LOG_LINES = 20

/** What a server that does not come up is called, and where its last words are. */
export interface Starting {
  /** With its address: `Kafka on 127.0.0.1:9092`. */
  readonly name: string
  readonly logFile: string
  readonly timeoutMs: number
}

/**
 * Tries `probe` until it succeeds. Throws when the server exits or the time is up: what was waited for, how the last
 * try failed, and the server's log from its first error on.
 */
export async function untilReady(server: GuardedServer, starting: Starting, probe: () => Promise<void>): Promise<void> {
  const aborter = new AbortController()
  let why = `no answer within ${starting.timeoutMs / 1000} s`
  const exited = (reason: string) => {
    why = `it ended: ${reason}`
    aborter.abort()
  }
  const timer = setTimeout(() => aborter.abort(), starting.timeoutMs)
  server.once('exited', exited)
  try {
    await retry(probe, aborter.signal)
  } catch (error) {
    const last = error instanceof Error ? error.message : String(error)
    const log = lastWords(await readFile(starting.logFile, 'utf8').catch(() => '(none)'))
    throw new Error(`${starting.name} did not start: ${why} (last try: ${last}). From its log:\n${log}`, {
      cause: error,
    })
  } finally {
    clearTimeout(timer)
    server.off('exited', exited)
  }
}

/** Tries `probe` until it succeeds or `signal` is aborted; then throws what the last try threw. */
export async function retry(probe: () => Promise<void>, signal: AbortSignal): Promise<void> {
  let failure: unknown = new Error('none')
  while (!signal.aborted) {
    try {
      return await probe()
    } catch (error) {
      failure = error
      await delay(BETWEEN_TRIES_MS, undefined, { signal }).catch(() => {})
    }
  }
  throw failure
}

// A server that gives up says why, with a page of stack frames, and then reports at length how it shuts down.
function lastWords(log: string): string {
  const error = log.search(/^.*\b(ERROR|FATAL)\b/m)
  if (error === -1) return tail(log)
  const lines = log.slice(error).trimEnd().split('\n')
  return lines
    .filter(line => !line.startsWith('\tat '))
    .slice(0, LOG_LINES)
    .join('\n')
}
