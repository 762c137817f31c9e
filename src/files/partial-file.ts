import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SluiceError } from '../core/errors.ts'
import type { ByteSink } from '../core/files.ts'
import { using } from './errors.ts'

/** Buffers that one system call writes at most. */
const MOST_BUFFERS = 512

/**
 * A file that is there as a whole or not at all: it is written as `<path>.partial`, and gets its name only once all of it is
 * on the disk. What a killed run left behind is replaced.
 */
export class PartialFile implements ByteSink {
  readonly path: string
  readonly partial: string
  pending = 0
  /** Bytes appended so far. */
  bytes = 0
  readonly #handle: FileHandle
  #buffers: Uint8Array[] = []

  private constructor(path: string, handle: FileHandle) {
    this.path = path
    this.partial = partialOf(path)
    this.#handle = handle
  }

  /** @throws SluiceError `file-unusable` */
  static async create(path: string): Promise<PartialFile> {
    const partial = partialOf(path)
    return using(partial, 'written', async () => {
      await rm(partial, { force: true })
      return new PartialFile(path, await open(partial, 'wx'))
    })
  }

  /** Removes what a killed run left of a file. */
  static async remove(path: string): Promise<void> {
    const partial = partialOf(path)
    await using(partial, 'removed', () => rm(partial, { force: true }))
  }

  append(bytes: Uint8Array): void {
    this.#buffers.push(bytes)
    this.pending += bytes.length
    this.bytes += bytes.length
  }

  async flush(): Promise<void> {
    const buffers = this.#buffers
    this.#buffers = []
    this.pending = 0
    await using(this.partial, 'written', async () => {
      for (let i = 0; i < buffers.length; i += MOST_BUFFERS) await this.#write(buffers.slice(i, i + MOST_BUFFERS))
    })
  }

  /** The disk may take less than it was given. */
  async #write(buffers: Uint8Array[]): Promise<void> {
    let left = buffers
    while (left.length > 0) {
      let { bytesWritten } = await this.#handle.writev(left)
      left = left.flatMap(buffer => {
        const written = Math.min(bytesWritten, buffer.length)
        bytesWritten -= written
        return written < buffer.length ? [buffer.subarray(written)] : []
      })
    }
  }

  /**
   * Puts all of it on the disk, and gives it its name.
   * @throws SluiceError `file-unusable`, also when another run has replaced the partial file meanwhile: it would be that one,
   *   and half written, that got the name
   */
  async publish(): Promise<void> {
    await this.flush()
    await using(this.path, 'written', async () => {
      await this.#handle.sync()
      const [own, there] = [await this.#handle.stat(), await stat(this.partial).catch(() => undefined)]
      if (there?.ino !== own.ino || there.dev !== own.dev) {
        throw new SluiceError('file-unusable', `${this.partial} was replaced: another run writes to ${this.path}, too`)
      }
      await this.#handle.close()
      await rename(this.partial, this.path)
      await syncFolder(dirname(this.path))
    })
  }

  /** Gives up. Harmless after `publish`. */
  async discard(): Promise<void> {
    await this.close()
    await rm(this.partial, { force: true }).catch(() => {})
  }

  /** Leaves the partial file as it is. */
  async close(): Promise<void> {
    await this.#handle.close().catch(() => {})
  }
}

function partialOf(path: string): string {
  return `${path}.partial`
}

/** So that the name is on the disk, too. Not every file system lets folders be opened. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  await folder?.sync().catch(() => {})
  await folder?.close()
}
