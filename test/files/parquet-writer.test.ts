import assert from 'node:assert/strict'
import { it } from 'node:test'
import { parquetMetadata } from 'hyparquet'
import { ParquetWriter } from '../../src/files/parquet-writer.ts'

it('a row group ends with 64 MiB of text, of arrays, too', async () => {
  const parts: Uint8Array[] = []
  const sink = { pending: 0, append: (bytes: Uint8Array) => void parts.push(bytes), flush: async () => {} }
  const columns = [
    { name: 'text', type: 'string', array: false, nullable: true },
    { name: 'texts', type: 'string', array: true, nullable: true },
  ] as const
  const writer = new ParquetWriter(sink, { columns, numbered: false, outputs: [] })
  const text = 'x'.repeat(8 << 20)
  for (let i = 0; i < 9; i++) writer.write(i, [text, [text, null]], 0, [])
  await writer.finish()
  const file = Uint8Array.from(Buffer.concat(parts)).buffer
  const groups = parquetMetadata(file).row_groups.map(({ num_rows }) => Number(num_rows))
  assert.deepEqual(groups, [4, 4, 1])
})
