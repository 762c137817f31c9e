import { type FileHandle, open } from 'node:fs/promises'
import { using } from './errors.ts'

/** Bytes that are read at once. */
export const READ_BYTES = 2 << 20
/** Room before them for what was left of the window before. */
const HEADROOM = 1 << 20
/** Reads on their way: so many threads copy, or wait for the disk, at a time. */
const READS_AHEAD = 2

/** A part of a file in lent memory. */
export interface Window {
  /** What was left of the part before, and what follows it in the file. */
  readonly bytes: Buffer
  /** Whether the file ends with it. */
  readonly last: boolean
  /** Gives the memory back; nobody reads `bytes` afterwards. */
  release(): void
}

interface Read {
  /** With headroom. */
  readonly buffer: Buffer
  /** How many bytes came; fewer than were asked for at the end of the file. */
  readonly length: Promise<number>
}

/** Reads a file part by part, ahead of whoever takes them, into buffers that are used again. */
export class FileWindows {
  readonly path: string
  readonly size: number
  /** Bytes of the windows so far. */
  position = 0
  readonly #handle: FileHandle
  readonly #reads: Read[] = []
  readonly #free: Buffer[] = []
  #asked = 0
  /** Of the window before, in memory of its own if nothing has been read yet that it could be put in front of. */
  #left: Buffer = NOTHING
  #leftLength = 0

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
    this.#leftLength = bytes.length
    if (bytes.length > HEADROOM) this.#left = Buffer.from(bytes)
    else bytes.copy(this.#ahead().buffer, HEADROOM - bytes.length)
  }

  /**
   * The next part: what was kept, and at least `least` bytes more unless the file ends before.
   * @throws SluiceError `file-unusable`
   */
  async next(least = 1): Promise<Window> {
    const { buffer, length } = this.#ahead()
    const read = await using(this.path, 'read', () => length)
    this.#reads.shift()
    this.position += read
    this.#readAhead()
    const kept = this.#leftLength
    this.#leftLength = 0
    const whole = read === READ_BYTES
    if (kept <= HEADROOM && (read >= least || !whole)) {
      const bytes = buffer.subarray(HEADROOM - kept, HEADROOM + read)
      return { bytes, last: !whole, release: () => void this.#free.push(buffer) }
    }
    const front = kept > HEADROOM ? this.#left : buffer.subarray(HEADROOM - kept, HEADROOM)
    this.#left = NOTHING
    const first = { bytes: buffer.subarray(HEADROOM, HEADROOM + read), release: () => void this.#free.push(buffer) }
    return this.#gather([{ bytes: front, release() {} }, first], least - read, !whole)
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#reads.map(({ length }) => length))
    await this.#handle.close().catch(() => {})
  }

  /** A window of several reads, for what is larger than one. */
  async #gather(parts: Omit<Window, 'last'>[], least: number, ended: boolean): Promise<Window> {
    let last = ended
    for (let missing = least; missing > 0 && !last; ) {
      const more = await this.next()
      parts.push(more)
      missing -= more.bytes.length
      last = more.last
    }
    const bytes = Buffer.allocUnsafeSlow(parts.reduce((sum, part) => sum + part.bytes.length, 0))
    let at = 0
    for (const part of parts) {
      at += part.bytes.copy(bytes, at)
      part.release()
    }
    return { bytes, last, release: () => {} }
  }

  /** The read that the next window is of. */
  #ahead(): Read {
    if (this.#reads.length === 0) this.#readAhead()
    return this.#reads[0]!
  }

  #readAhead(): void {
    while (this.#reads.length < READS_AHEAD) {
      const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(HEADROOM + READ_BYTES)
      const length = this.#fill(buffer, this.#asked)
      // Whoever takes the window hears of it.
      length.catch(() => {})
      this.#reads.push({ buffer, length })
      this.#asked += READ_BYTES
    }
  }

  /** A system may give less than it was asked for before the end, too. */
  async #fill(buffer: Buffer, position: number): Promise<number> {
    let done = 0
    while (done < READ_BYTES) {
      const { bytesRead } = await this.#handle.read(buffer, HEADROOM + done, READ_BYTES - done, position + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return done
  }
}

const NOTHING = Buffer.alloc(0)
