import { writeFileSync } from 'node:fs'
import { measureExport, runtimeVersion, servedExports } from './exports-measure.ts'
import { boundOf, type RecordedExport } from './exports-table.ts'

/**
 * Predicts the golden samples of all exports in test/fixtures/exports, and writes how far they are from the libraries' own
 * predictions into docs/exports.json: `node scripts/exports.ts`. `node scripts/docs.ts` makes the page of it.
 */

const exports: RecordedExport[] = []
for (const name of await servedExports()) {
  const { difference, largest, ...rest } = await measureExport(name)
  exports.push({ ...rest, atMost: boundOf(difference), largest })
  console.log(`${name}: ${difference}`)
}
const text = JSON.stringify({ runtime: runtimeVersion(), exports }, null, 2)
writeFileSync(new URL('../docs/exports.json', import.meta.url), `${text}\n`)
