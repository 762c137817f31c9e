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
  #left: Buffer = Buffer.alloc(0)

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
    this.#left = Buffer.from(bytes)
  }

  /**
   * The next part: what was kept, and at least `least` bytes more unless the file ends before.
   * @throws SluiceError `file-unusable`
   */
  async next(least = 1): Promise<Window> {
    const left = this.#left
    const size = Math.max(WINDOW_BYTES, left.length + least)
    const buffer = (size === WINDOW_BYTES ? this.#free.pop() : undefined) ?? allocateCheckable(size)
    left.copy(buffer)
    this.#left = Buffer.alloc(0)
    const end = await using(this.path, 'read', () => this.#fill(buffer, left.length))
    return {
      bytes: buffer.subarray(0, end),
      last: end < buffer.length,
      release: () => {
        if (buffer.length === WINDOW_BYTES) this.#free.push(buffer)
      },
    }
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {})
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
