import type { BigIntStats } from 'node:fs'
import { type FileHandle, link, open, rename, rm, stat } from 'node:fs/promises'
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
  readonly #own: BigIntStats
  #buffers: Uint8Array[] = []
  #published = false

  private constructor(path: string, handle: FileHandle, own: BigIntStats) {
    this.path = path
    this.partial = partialOf(path)
    this.#handle = handle
    this.#own = own
  }

  /** @throws SluiceError `file-unusable` */
  static async create(path: string): Promise<PartialFile> {
    const partial = partialOf(path)
    return using(partial, 'written', async () => {
      await rm(partial, { force: true })
      const handle = await open(partial, 'wx')
      return new PartialFile(path, handle, await handle.stat({ bigint: true }))
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
   * Puts all of it on the disk; nothing can be appended any more. The name is the next step, and the only one left.
   * @throws SluiceError `file-unusable`, also when another run has replaced the partial file meanwhile: it would be that one,
   *   and half written, that got the name
   */
  async seal(): Promise<void> {
    await this.flush()
    await using(this.path, 'written', async () => {
      await this.#handle.sync()
      if (!(await this.#isOwn())) {
        throw new SluiceError('file-unusable', `${this.partial} was replaced: another run writes to ${this.path}, too`)
      }
      await this.#handle.close()
    })
  }

  /**
   * Gives a sealed file its name.
   * @param replace whether a file that has the name already goes
   * @throws SluiceError `file-exists`, `file-unusable`
   */
  async publish(replace: boolean): Promise<void> {
    await using(this.path, 'written', async () => {
      if (replace || !(await this.#linked())) await rename(this.partial, this.path)
      this.#published = true
      await syncFolder(dirname(this.path))
    })
  }

  /** Whether it has its name by a link, which never replaces a file; not every file system has links. */
  async #linked(): Promise<boolean> {
    try {
      await link(this.partial, this.path)
    } catch (error) {
      const there = (error as NodeJS.ErrnoException).code === 'EEXIST' || (await exists(this.path))
      if (there) throw new SluiceError('file-exists', `${this.path} is there already.`, { cause: error })
      return false
    }
    // The output is whole, whatever becomes of its other name.
    await rm(this.partial, { force: true }).catch(() => {})
    return true
  }

  /** Gives up. Harmless after `publish`, and to the partial file of another run. */
  async discard(): Promise<void> {
    await this.close()
    if (this.#published) return
    if (await this.#isOwn()) await rm(this.partial, { force: true }).catch(() => {})
  }

  /** Leaves the partial file as it is. */
  async close(): Promise<void> {
    await this.#handle.close().catch(() => {})
  }

  /** Whether the partial file is still the one that this run made. */
  async #isOwn(): Promise<boolean> {
    const there = await stat(this.partial, { bigint: true }).catch(() => undefined)
    return there?.ino === this.#own.ino && there.dev === this.#own.dev
  }
}

/** Where a file is until it gets its name. */
export function partialOf(path: string): string {
  return `${path}.partial`
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** So that the name is on the disk, too. Not every file system lets folders be opened. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  await folder?.sync().catch(() => {})
  await folder?.close()
}
