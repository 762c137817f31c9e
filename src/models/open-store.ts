import { createHash } from 'node:crypto'
import type { Clock } from '../core/clock.ts'
import { SluiceError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { parseStoreAddress, STORE_ADDRESS_RULE } from '../core/store-address.ts'
import { Bucket } from './bucket.ts'
import { ModelCache } from './model-cache.ts'
import { S3Store } from './s3-store.ts'
import { FolderStore, type ModelStore } from './store.ts'

/** The settings of the same names. */
export interface StoreSettings {
  readonly modelStore: string
  readonly modelStoreEndpoint?: string | undefined
  readonly modelStoreRegion?: string | undefined
  readonly modelStorePathStyle?: boolean | undefined
  readonly modelStoreTimeoutMs: number
  readonly modelCacheDir: string
}

interface StoreTools {
  readonly log: Log
  readonly clock: Clock
}

/**
 * The store that MODEL_STORE names. Nothing is read and nobody asked before the first call of it; it need not be closed.
 * @throws SluiceError `invalid-config`
 */
export function openStore(settings: StoreSettings, { log, clock }: StoreTools): ModelStore {
  const address = parseStoreAddress(settings.modelStore)
  if (address === undefined) throw new SluiceError('invalid-config', `MODEL_STORE must be ${STORE_ADDRESS_RULE}`)
  if (address.scheme === 'folder') return new FolderStore(address.path)
  const { bucket, prefix } = address
  const { modelStoreEndpoint: endpoint, modelStoreRegion: region, modelStorePathStyle: pathStyle } = settings
  const timeoutMs = settings.modelStoreTimeoutMs
  // Two servers may have buckets of the same name.
  const digest = createHash('sha256')
    .update(JSON.stringify([endpoint ?? '', bucket, prefix]))
    .digest('hex')
  return new S3Store({
    bucket: new Bucket({ bucket, prefix, endpoint, region, pathStyle, timeoutMs, clock }),
    cache: new ModelCache(settings.modelCacheDir, `${bucket}-${digest.slice(0, 12)}`),
    log,
    wallTime: () => clock.wallTime(),
  })
}
