import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { HealthReport } from '../../src/ops/health.ts'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))
const MODELS = fileURLToPath(new URL('../../models', import.meta.url))
const SCHEMAS = fileURLToPath(new URL('../../schemas', import.meta.url))

const PATIENCE_MS = 30_000
const HEALTH_INTERVAL_MS = 25

/** A line of the worker's JSON log: what a person sees. */
export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [field: string]: unknown
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface HealthAnswer {
  readonly status: number
  readonly body: HealthReport
}

interface Events {
  line: [LogLine]
}

/**
 * `sluice worker` as a process of its own, seen as an operator sees it: settings in, log lines, health and an exit code
 * out. Killed when the test ends, if it has not ended by then.
 */
export class WorkerProcess extends EventEmitter<Events> {
  readonly lines: LogLine[] = []
  readonly exited: Promise<Exit>
  readonly #child: ChildProcess
  #stderr = ''

  /** Starts one; a schema folder, if none is given, is the checkout's, and free ports and small timeouts are chosen. */
  constructor(t: Pick<TestContext, 'after'>, settings: Readonly<Record<string, string | number>>) {
    super()
    this.setMaxListeners(0)
    const folder = mkdtempSync(join(tmpdir(), 'sluice-worker-'))
    const environment = { MODEL_STORE: MODELS, SCHEMA_DIR: SCHEMAS, HTTP_PORT: 0, LOG_FORMAT: 'json', ...settings }
    const env = Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value)]))
    const child = spawn(process.execPath, [CLI, 'worker'], {
      // No .env of the checkout, and no setting of whoever runs the tests.
      cwd: folder,
      env: { PATH: process.env.PATH ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    createInterface(child.stdout).on('line', text => this.#hear(text))
    child.stderr.on('data', text => {
      this.#stderr += text
    })
    this.exited = once(child, 'close').then(([code, signal]) => ({ code, signal }))
    t.after(async () => {
      this.kill('SIGKILL')
      await this.exited
      rmSync(folder, { recursive: true, force: true })
    })
  }

  /** What was written to standard error, where no log line goes. */
  get stderr(): string {
    return this.#stderr
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Stops it as an orchestrator does, and expects a drain that succeeds. */
  async stop(): Promise<void> {
    this.kill('SIGTERM')
    const exit = await this.exited
    if (exit.code !== 0) throw new Error(`the worker ended with ${JSON.stringify(exit)} after SIGTERM${this.#transcript()}`)
  }

  /** The first line that `matches`, of those after the first `from`; waits for it. */
  async said(matches: (line: LogLine) => boolean, what: string, from = 0): Promise<LogLine> {
    const known = this.lines.slice(from).find(matches)
    if (known !== undefined) return known
    const patience = AbortSignal.timeout(PATIENCE_MS)
    const heard = Promise.withResolvers<LogLine>()
    const onLine = (line: LogLine) => {
      if (matches(line)) heard.resolve(line)
    }
    this.on('line', onLine)
    patience.addEventListener('abort', () => heard.reject(this.#failure(`did not say ${what}`)))
    void this.exited.then(exit => heard.reject(this.#failure(`ended (${JSON.stringify(exit)}) and never said ${what}`)))
    try {
      return await heard.promise
    } finally {
      this.off('line', onLine)
    }
  }

  /** The line with which a condition of this code begins. */
  async warned(code: string, from = 0): Promise<LogLine> {
    return this.said(line => line.level === 'warn' && line.code === code && line.condition !== undefined, code, from)
  }

  async joined(from = 0): Promise<LogLine> {
    return this.said(line => line.msg === 'joined the group', 'that it joined the group', from)
  }

  async health(kind: 'live' | 'ready'): Promise<HealthAnswer> {
    const { url } = await this.said(line => line.url !== undefined, 'where it serves health')
    const response = await fetch(`${url}/health/${kind}`)
    return { status: response.status, body: (await response.json()) as HealthReport }
  }

  /** Resolves when /health/ready says that every partition is being worked on. */
  async ready(): Promise<void> {
    await this.readiness(({ status }) => status === 200, 'that it is ready')
  }

  /** Asks /health/ready until its answer `matches`. */
  async readiness(matches: (answer: HealthAnswer) => boolean, what: string): Promise<HealthAnswer> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const answer = await this.health('ready')
      if (matches(answer)) return answer
      if (performance.now() > deadline) throw this.#failure(`never answered ${what}, but ${JSON.stringify(answer)}`)
      await delay(HEALTH_INTERVAL_MS)
    }
  }

  #hear(text: string): void {
    let line: LogLine
    try {
      line = JSON.parse(text) as LogLine
    } catch {
      line = { level: 'none', msg: text }
    }
    this.lines.push(line)
    this.emit('line', line)
  }

  #failure(what: string): Error {
    return new Error(`the worker ${what}${this.#transcript()}`)
  }

  #transcript(): string {
    const said = this.lines.slice(-30).map(({ level, msg, code }) => `  ${level} ${code ?? ''} ${msg}`)
    return `. It said:\n${said.join('\n')}\n${this.#stderr}`
  }
}
