import { type FileHandle, open } from 'node:fs/promises'
import { allocateCheckable } from '../core/float-check.ts'
import { using } from './errors.ts'

/** Bytes that are read at once. */
const WINDOW_BYTES = 4 << 20

/** A part of a file in lent memory. */
export interface Window {
  /** What was left of the part before, and what follows it in the file. */
  readonly bytes: Buffer
  /** Whether the file ends with it. */
  readonly last: boolean
  /** Gives the memory back; nobody reads `bytes` afterwards. */
  release(): void
}

/** Reads a file part by part into buffers that are used again. */
export class FileWindows {
  readonly path: string
  readonly size: number
  position = 0
  readonly #handle: FileHandle
  readonly #free: Buffer[] = []
  /** The buffer of the next window, and what it begins with. */
  #next: Buffer | undefined
  #left = 0

  private constructor(path: string, handle: FileHandle, size: number) {
    this.path = path
    this.size = size
    this.#handle = handle
  }

  /** @throws SluiceError `file-unusable` */
  static async open(path: string): Promise<FileWindows> {
    return using(path, 'read', async () => {
      const handle = await open(path, 'r')
      return new FileWindows(path, handle, (await handle.stat()).size)
    })
  }

  /** Says that these bytes of the last window are to be at the beginning of the next one. They are copied. */
  keep(bytes: Buffer): void {
    this.#next = this.#acquire(bytes.length + 1)
    this.#left = bytes.copy(this.#next)
  }

  /**
   * The next part: what was kept, and at least `least` bytes more unless the file ends before.
   * @throws SluiceError `file-unusable`
   */
  async next(least = 1): Promise<Window> {
    const left = this.#left
    let buffer = this.#next ?? this.#acquire(least)
    if (buffer.length - left < least) {
      const larger = this.#acquire(left + least)
      buffer.copy(larger, 0, 0, left)
      this.#giveBack(buffer)
      buffer = larger
    }
    this.#next = undefined
    this.#left = 0
    const end = await using(this.path, 'read', () => this.#fill(buffer, left))
    return {
      bytes: buffer.subarray(0, end),
      last: end < buffer.length,
      release: () => this.#giveBack(buffer),
    }
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {})
  }

  #acquire(size: number): Buffer {
    if (size > WINDOW_BYTES) return allocateCheckable(size)
    return this.#free.pop() ?? allocateCheckable(WINDOW_BYTES)
  }

  #giveBack(buffer: Buffer): void {
    if (buffer.length === WINDOW_BYTES) this.#free.push(buffer)
  }

  /** Returns up to where it could be filled: the end of the buffer, unless the file ends. */
  async #fill(buffer: Buffer, from: number): Promise<number> {
    let at = from
    while (at < buffer.length) {
      const { bytesRead } = await this.#handle.read(buffer, at, buffer.length - at, this.position)
      if (bytesRead === 0) break
      this.position += bytesRead
      at += bytesRead
    }
    return at
  }
}
