import type { Socket } from 'node:net'
import { FrameSplitter } from './frames.ts'

/** What waits in a lane at most, besides the frame that is being received; beyond it the sender has to wait. */
const MAX_WAITING_BYTES = 1024 * 1024

/** A frame, and when its last byte came, by `performance.now()`. */
export interface Arrival {
  readonly frame: Buffer
  readonly arrivedAt: number
}

/**
 * The frames that a socket receives, in order, to be taken one by one with `for await`. It reads ahead, so that frames
 * that are all delayed by a second do not add up to a second each. Ends when the socket has ended or is closed and every
 * frame has been taken, also those that came before a reset.
 */
export class Lane {
  readonly #source: Socket
  readonly #splitter = new FrameSplitter()
  readonly #waiting: Arrival[] = []
  #waitingBytes = 0
  #ended = false
  #flaw: unknown
  #wake = () => {}

  constructor(source: Socket) {
    this.#source = source
    source.on('data', (chunk: Buffer) => this.#receive(chunk))
    source.on('end', () => this.#end())
    source.on('close', () => this.#end())
  }

  /** @throws Error when what came is not Kafka's protocol */
  async *[Symbol.asyncIterator](): AsyncGenerator<Arrival, void, void> {
    for (;;) {
      const arrival = this.#waiting.shift()
      if (arrival !== undefined) {
        this.#waitingBytes -= arrival.frame.length
        if (this.#waitingBytes <= MAX_WAITING_BYTES) this.#source.resume()
        yield arrival
      } else if (this.#flaw !== undefined) {
        throw this.#flaw
      } else if (this.#ended) {
        return
      } else {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    }
  }

  #receive(chunk: Buffer): void {
    try {
      const arrivedAt = performance.now()
      for (const frame of this.#splitter.push(chunk)) {
        this.#waiting.push({ frame, arrivedAt })
        this.#waitingBytes += frame.length
      }
    } catch (error) {
      this.#flaw = error
    }
    if (this.#waitingBytes > MAX_WAITING_BYTES || this.#flaw !== undefined) this.#source.pause()
    this.#wake()
  }

  #end(): void {
    this.#ended = true
    this.#wake()
  }
}

/** Writes to a socket and waits while it has no room for more. What is written to a socket that is closed is lost. */
export async function write(target: Socket, bytes: Uint8Array): Promise<void> {
  if (!target.writable || target.write(bytes)) return
  await new Promise<void>(resolve => {
    const over = () => {
      target.off('drain', over)
      target.off('close', over)
      resolve()
    }
    target.on('drain', over)
    target.on('close', over)
  })
}
