import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock as clock } from '../../src/core/clock.ts'
import { silentLog as log } from '../../src/core/log.ts'
import { openStore } from '../../src/models/open-store.ts'
import { S3Store } from '../../src/models/s3-store.ts'
import { FolderStore } from '../../src/models/store.ts'

const open = (modelStore: string) =>
  openStore({ modelStore, modelStoreTimeoutMs: 1_000, modelCacheDir: '/nowhere' }, { log, clock })

describe('MODEL_STORE', () => {
  it('is a folder or a bucket', () => {
    for (const folder of ['models', './a b', '/models', 's3', 's3:models'])
      assert.ok(open(folder) instanceof FolderStore)
    for (const bucket of ['s3://models', 's3://models/', 's3://models/team/a_1']) {
      assert.ok(open(bucket) instanceof S3Store, bucket)
    }
  })

  it('with another scheme, or with more than a bucket, is refused, and not repeated: it may hold a secret', () => {
    for (const wrong of [
      'gs://models',
      'file:///models',
      's3://me:secret@models',
      's3://models//a',
      's3://models/../a',
    ]) {
      const message = 'MODEL_STORE must be the path of a folder, or s3://bucket or s3://bucket/prefix'
      assert.throws(() => open(wrong), { code: 'invalid-config', message }, wrong)
    }
  })
})
