import { Readable } from 'node:stream'
import type { S3Client } from '@aws-sdk/client-s3'
import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import {
  bucketError,
  isConflict,
  isNotFound,
  isPreconditionFailed,
  isUnreachable,
  storeRefused,
  storeUnreachable,
} from './bucket-errors.ts'
import { SilenceWatch } from './silence-watch.ts'

/** Attempts of one request, with growing pauses between them. */
const MAX_ATTEMPTS = 4
const FIRST_PAUSE_MS = 100
const MAX_CONNECT_MS = 3_000
/** One object, all attempts together. */
export const MAX_TRANSFER_MS = 30 * 60_000
/** What Amazon S3 takes in one request: bytes of an object, keys to remove. */
const MAX_OBJECT_BYTES = 5 * 2 ** 30
const MAX_KEYS = 1_000

/** The name of a mark among the metadata of an object. */
const MARK = 'sluice-add'
/** The SDK would warn on the console that it does not send a stream twice; we do, from its beginning. */
const SILENT = { trace() {}, debug() {}, info() {}, warn() {}, error() {} }

/** The region that servers other than Amazon's take, and Amazon leads on from. */
const ELSEWHERE = 'us-east-1'

type Sdk = typeof import('@aws-sdk/client-s3')

export interface BucketOptions {
  readonly bucket: string
  /** See `StoreAddress`. */
  readonly prefix: string
  /** Unset: Amazon S3, or what the SDK's own settings say. */
  readonly endpoint?: string | undefined
  /** Unset: what the SDK's own settings say, or us-east-1, which servers other than Amazon's usually take. */
  readonly region?: string | undefined
  /** Unset: where there is an endpoint. */
  readonly pathStyle?: boolean | undefined
  /** For a small request with all its attempts, and for the silence within a large one. */
  readonly timeoutMs: number
  readonly clock: Clock
}

/** An object as a listing shows it. */
export interface ListedObject {
  readonly key: string
  readonly bytes: number
  /** When it was put, by the clock of the store; milliseconds since the Unix epoch. */
  readonly modified: number
}

/** A small object as a whole. */
export interface SmallObject {
  readonly bytes: Buffer
  /** Changes with the content; see `PutCondition`. */
  readonly tag: string
  /** What `put` was given. */
  readonly mark: string | undefined
  /** See `ListedObject`. */
  readonly modified: number
}

/** When an object is put: if there is none under its key, or if there still is the one of this tag. */
export type PutCondition = 'absent' | { readonly tag: string }

/** What an object becomes. */
export interface Upload {
  readonly bytes: number
  /** SHA-256 in base64: a store that knows the header refuses what came damaged. */
  readonly sha256: string
  /** Tells this put from others of the same content. */
  readonly mark?: string
  /** Called for each attempt. */
  open(): Readable | Buffer
}

/** How the SDK is to make a request: `requestTimeout` is for one attempt to be answered. */
interface RequestOptions {
  readonly abortSignal: AbortSignal
  readonly requestTimeout: number
}

/** Takes the content of an object, once for each attempt, from its beginning. */
export type Sink<T> = (content: AsyncIterable<Uint8Array>) => Promise<T>

/**
 * The objects below a prefix of a bucket of an S3-compatible store. The only place that knows the SDK, which is loaded with
 * the first request: it takes 30 MB. Keys are relative to the prefix. Credentials come from where the SDK looks for
 * them: environment, profile, role of the machine. Requests may run side by side.
 *
 * Every method throws SluiceError `store-unreachable` when no answer came in time, in several attempts, and
 * `store-refused` when the store said no.
 */
export class Bucket {
  /** `s3://bucket/prefix`, for messages. */
  readonly name: string
  readonly #options: BucketOptions
  #loaded: Promise<{ sdk: Sdk; client: S3Client }> | undefined

  constructor(options: BucketOptions) {
    this.name = ['s3:/', options.bucket, options.prefix].filter(part => part !== '').join('/')
    this.#options = options
  }

  /** Every object whose key begins with `start`, in the order of keys. */
  async list(start: string): Promise<ListedObject[]> {
    const { sdk, client } = await this.#load()
    const { Bucket, Key: Prefix } = this.#place(start)
    const skipped = Prefix.length - start.length
    const listed: ListedObject[] = []
    let next: string | undefined
    do {
      const command = new sdk.ListObjectsV2Command({ Bucket, Prefix, ContinuationToken: next })
      const page = await this.#briefly(options => client.send(command, options))
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
        listed.push({ key: Key.slice(skipped), bytes: Size, modified: LastModified?.getTime() ?? 0 })
      }
      next = page.IsTruncated ? page.NextContinuationToken : undefined
    } while (next !== undefined)
    return listed
  }

  /** A small object; undefined where there is none. */
  async read(key: string): Promise<SmallObject | undefined> {
    const { sdk, client } = await this.#load()
    const command = new sdk.GetObjectCommand(this.#place(key))
    try {
      return await this.#briefly(async options => {
        const { Body, ETag = '', Metadata, LastModified } = await client.send(command, options)
        const bytes = Buffer.from(await Body!.transformToByteArray())
        return { bytes, tag: ETag, mark: Metadata?.[MARK], modified: LastModified?.getTime() ?? 0 }
      })
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  /**
   * Hands the content of an object to `sink` as it comes, and returns what `sink` does; undefined where there is no such
   * object. Content that ends too early makes `sink` fail, and then begins anew. Throws what `sink` throws.
   */
  async download<T>(key: string, sink: Sink<T>): Promise<T | undefined> {
    const { sdk, client } = await this.#load()
    const command = new sdk.GetObjectCommand(this.#place(key))
    try {
      return await this.#patiently(async (abortSignal, alive) => {
        const { Body } = await this.#translated(client.send(command, { abortSignal }), abortSignal)
        return sink(this.#content(Body as Readable, abortSignal, alive))
      })
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  /**
   * Puts an object, whole or not at all. False: the condition does not hold, and what was there stays. That may be the object
   * itself, from an attempt whose answer was lost: its mark tells.
   */
  async put(key: string, upload: Upload, condition: PutCondition): Promise<boolean> {
    if (upload.bytes > MAX_OBJECT_BYTES) {
      throw storeRefused(this.name, `${key} has ${upload.bytes} bytes; one object takes at most ${MAX_OBJECT_BYTES}`)
    }
    const { sdk, client } = await this.#load()
    const attempt = (abortSignal: AbortSignal, alive: () => void) => {
      const body = upload.open()
      const command = new sdk.PutObjectCommand({
        ...this.#place(key),
        Body: Buffer.isBuffer(body) ? body : Readable.from(eachAlive(body, abortSignal, alive), { objectMode: false }),
        ContentLength: upload.bytes,
        ...(upload.mark === undefined ? {} : { Metadata: { [MARK]: upload.mark } }),
        ChecksumSHA256: upload.sha256,
        ...(condition === 'absent' ? { IfNoneMatch: '*' } : { IfMatch: condition.tag }),
      })
      return this.#translated(client.send(command, { abortSignal }), abortSignal)
    }
    try {
      await this.#patiently(attempt)
      return true
    } catch (error) {
      // A tag that nothing has any more is a condition that does not hold, too.
      if (isPreconditionFailed(error) || isNotFound(error)) return false
      throw error
    }
  }

  /** Removes objects; those that are not there do not matter. */
  async remove(keys: readonly string[]): Promise<void> {
    const { sdk, client } = await this.#load()
    for (let first = 0; first < keys.length; first += MAX_KEYS) {
      const Objects = keys.slice(first, first + MAX_KEYS).map(key => ({ Key: this.#place(key).Key }))
      const command = new sdk.DeleteObjectsCommand({ Bucket: this.#options.bucket, Delete: { Objects, Quiet: true } })
      const { Errors = [] } = await this.#briefly(options => client.send(command, options))
      const [failed] = Errors
      if (failed !== undefined) throw storeRefused(this.name, `${failed.Key} was not removed: ${failed.Message}`)
    }
  }

  #place(key: string): { Bucket: string; Key: string } {
    const { bucket, prefix } = this.#options
    return { Bucket: bucket, Key: prefix === '' ? key : `${prefix}/${key}` }
  }

  #load(): Promise<{ sdk: Sdk; client: S3Client }> {
    this.#loaded ??= import('@aws-sdk/client-s3').then(async sdk => ({ sdk, client: await this.#connect(sdk) }))
    return this.#loaded
  }

  async #connect(sdk: Sdk): Promise<S3Client> {
    const { endpoint, region, pathStyle, timeoutMs } = this.#options
    // A client of the defaults tells what the SDK's own settings say.
    const found = region ?? (await new sdk.S3Client({}).config.region().catch(() => ELSEWHERE))
    return new sdk.S3Client({
      ...(endpoint === undefined ? {} : { endpoint }),
      region: found,
      followRegionRedirects: true,
      forcePathStyle: pathStyle ?? endpoint !== undefined,
      maxAttempts: MAX_ATTEMPTS,
      logger: SILENT,
      // Ours is a SHA-256 of its own. The SDK's would be sent behind the content, which not every server understands.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: Math.min(MAX_CONNECT_MS, timeoutMs), throwOnRequestTimeout: true },
    })
  }

  /** A request that takes `timeoutMs` at most, with what the SDK tries again. */
  async #briefly<T>(request: (options: RequestOptions) => Promise<T>): Promise<T> {
    const { clock, timeoutMs } = this.#options
    const watch = new SilenceWatch(clock, timeoutMs)
    const options = { abortSignal: watch.signal, requestTimeout: Math.ceil(timeoutMs / MAX_ATTEMPTS) }
    try {
      return await this.#translated(request(options), watch.signal)
    } finally {
      watch.end()
    }
  }

  /** A transfer that may take long but is never silent for `timeoutMs`, tried again from its beginning. */
  async #patiently<T>(transfer: (signal: AbortSignal, alive: () => void) => Promise<T>): Promise<T> {
    const { clock, timeoutMs } = this.#options
    const end = clock.now() + MAX_TRANSFER_MS
    for (let attempt = 1; ; attempt++) {
      const watch = new SilenceWatch(clock, timeoutMs, end)
      try {
        return await transfer(watch.signal, () => watch.alive())
      } catch (error) {
        const conflict = isConflict(error)
        if (attempt === MAX_ATTEMPTS && conflict) throw storeUnreachable(this.name, messageOf(error))
        if (attempt === MAX_ATTEMPTS || clock.now() >= end || !(conflict || isUnreachable(error))) throw error
      } finally {
        watch.end()
      }
      await clock.sleep(FIRST_PAUSE_MS * 2 ** attempt * (1 + Math.random()))
    }
  }

  /** What the SDK throws as an error for people, where it is none that a caller may expect. */
  #translated<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    return work.catch(error => {
      throw signal.aborted ? storeUnreachable(this.name, messageOf(signal.reason)) : bucketError(this.name, error)
    })
  }

  /** What comes of an object. It ends with an error of its own when the connection does, so that a sink's are the sink's. */
  async *#content(body: Readable, signal: AbortSignal, alive: () => void): AsyncGenerator<Uint8Array> {
    try {
      yield* eachAlive(body, signal, alive)
    } catch (error) {
      throw storeUnreachable(this.name, messageOf(error))
    }
  }
}

/** The chunks of a stream, each a sign of life; destroys the stream when `signal` is aborted. */
async function* eachAlive(stream: Readable, signal: AbortSignal, alive: () => void): AsyncGenerator<Uint8Array> {
  const cut = () => stream.destroy(signal.reason as Error)
  signal.addEventListener('abort', cut, { once: true })
  if (signal.aborted) cut()
  try {
    for await (const chunk of stream) {
      alive()
      yield chunk as Uint8Array
    }
  } finally {
    signal.removeEventListener('abort', cut)
  }
}
