import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { GuardedServer } from '../dev/guarded.ts'
import { parseMetrics, type Sample } from '../test/support/metrics.ts'
import type { Command } from './contender.ts'

const STOP_MS = 30_000
const LAST_LINES = 15
const POLL_MS = 20

/** A contender at work. It cannot outlive this process, however that ends; nor can its folder. */
export class ContenderProcess {
  readonly pid: number
  /** Rejects when the process ends before it is asked to; never resolves. */
  readonly died: Promise<never>
  readonly #server: GuardedServer
  readonly #logFile: string
  #stopping = false
  #reason = ''

  private constructor(server: GuardedServer, pid: number, logFile: string, title: string) {
    this.#server = server
    this.pid = pid
    this.#logFile = logFile
    this.died = once(server, 'exited').then(([reason]) => {
      this.#reason = reason as string
      if (this.#stopping) return new Promise<never>(() => {})
      throw new Error(`${title} ended before it was done (${this.#reason}). Its last lines:\n${this.#lastLines()}`)
    })
    this.died.catch(() => {})
  }

  /** Takes ownership of `folder`, where its output goes to `output.log`. Throws if it cannot be executed. */
  static async start({ file, args, env }: Command, folder: string, title: string): Promise<ContenderProcess> {
    const server = new GuardedServer(folder)
    const logFile = join(folder, 'output.log')
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    // env(1) becomes the command, so the process id stays.
    const pid = await server.start('env', [...variables, file, ...args], logFile)
    return new ContenderProcess(server, pid, logFile, title)
  }

  /** SIGTERM, and SIGKILL if that takes too long; the folder goes. Returns how it ended: `exit code 0` is as it should be. */
  async stop(): Promise<string> {
    this.#stopping = true
    await this.#server.signal('SIGTERM', STOP_MS)
    await this.#server.close()
    return this.#reason
  }

  /** What a Sluice worker serves at /metrics. Waits until its log says where. */
  async metrics(): Promise<Sample[]> {
    const response = await fetch(`${await this.#url()}/metrics`)
    return parseMetrics(await response.text())
  }

  /** Waits until a Sluice worker says that it is ready. */
  async ready(): Promise<void> {
    const url = `${await this.#url()}/health/ready`
    while ((await fetch(url)).status !== 200) await Promise.race([delay(POLL_MS), this.died])
  }

  async #url(): Promise<string> {
    for (;;) {
      const found = /"url":"([^"]+)"/.exec(readFileSync(this.#logFile, 'utf8'))
      if (found !== null) return found[1]!
      await Promise.race([delay(POLL_MS), this.died])
    }
  }

  /** The last line that it wrote, for contenders whose output is their result. */
  async result(): Promise<string> {
    await once(this.#server, 'exited')
    const text = this.#lastLines()
    if (this.#reason !== 'exit code 0') throw new Error(`It ended with ${this.#reason}. Its last lines:\n${text}`)
    return text.split('\n').at(-1)!
  }

  #lastLines(): string {
    return readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-LAST_LINES).join('\n')
  }
}
