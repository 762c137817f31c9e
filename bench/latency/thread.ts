import { once } from 'node:events'
import { parentPort, Worker } from 'node:worker_threads'

/** What a thread does when asked: each takes one argument, or none, and answers once. All travels as structured clones. */
export type Methods = Record<string, (argument: never) => unknown>

interface Call {
  readonly id: number
  readonly method: string
  readonly argument: unknown
}

type Answer = { readonly id: number } & ({ readonly result: unknown } | { readonly error: Error })

/**
 * A thread that serves `methods` of type M. The generator and the reader of a measurement have one each, so that neither
 * waits for the other's work, nor for what the measuring program does meanwhile.
 */
export class Thread<M extends Methods> {
  readonly #worker: Worker
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #calls = 0
  #ended: Error | undefined

  private constructor(worker: Worker, name: string) {
    this.#worker = worker
    worker.on('message', (answer: Answer) => this.#settle(answer))
    worker.on('error', error => this.#end(error as Error))
    worker.on('exit', () => this.#end(new Error(`The ${name} has ended.`)))
  }

  /** Resolves when the thread has loaded `module`, which calls {@link serve}; rejects with what it throws meanwhile. */
  static async start<M extends Methods>(module: URL, name: string): Promise<Thread<M>> {
    const worker = new Worker(module, { name })
    await once(worker, 'message')
    return new Thread<M>(worker, name)
  }

  /** Rejects with what the method threw, or with what ended the thread. */
  call<K extends keyof M & string>(method: K, ...argument: Parameters<M[K]>): Promise<Awaited<ReturnType<M[K]>>> {
    return this.#call(method, argument[0]) as Promise<Awaited<ReturnType<M[K]>>>
  }

  /** Processor time that the thread has used so far, helpers of the runtime (for garbage, compilation) not counted. */
  processorSeconds(): Promise<number> {
    return this.#call(processorSeconds.name, undefined) as Promise<number>
  }

  /** Ends it, whatever it does. */
  async close(): Promise<void> {
    await this.#worker.terminate()
  }

  #call(method: string, argument: unknown): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const id = this.#calls++
    const waiting = Promise.withResolvers<unknown>()
    this.#waiting.set(id, waiting)
    this.#worker.postMessage({ id, method, argument } satisfies Call)
    return waiting.promise
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id)!
    this.#waiting.delete(answer.id)
    if ('error' in answer) waiting.reject(answer.error)
    else waiting.resolve(answer.result)
  }

  #end(error: Error): void {
    this.#ended ??= error
    for (const waiting of this.#waiting.values()) waiting.reject(this.#ended)
    this.#waiting.clear()
  }
}

/** Answers calls from the thread that started this one, several at a time. */
export function serve(methods: Methods): void {
  const all: Methods = { ...methods, processorSeconds }
  parentPort!.on('message', async ({ id, method, argument }: Call) => {
    parentPort!.postMessage(await answerTo(id, all[method]!, argument))
  })
  parentPort!.postMessage('serving')
}

async function answerTo(id: number, method: Methods[string], argument: unknown): Promise<Answer> {
  try {
    return { id, result: await method(argument as never) }
  } catch (error) {
    return { id, error: error as Error }
  }
}

function processorSeconds(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1e6
}
