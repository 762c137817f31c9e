// Prints predictions as they are committed, one JSON object a line, until Ctrl-C:
//
//   node dev/demo/tail.ts BROKERS TOPIC SCHEMA_DIR
//
// Made for `npm run demo -- --keep`, which prints the whole command.

import { randomUUID } from 'node:crypto'
import { clientAt } from './kafka.ts'
import { header, PredictionDecoder } from './prediction.ts'

const [brokers, topic, schemas] = process.argv.slice(2)
if (brokers === undefined || topic === undefined || schemas === undefined) {
  console.error('Usage: node dev/demo/tail.ts BROKERS TOPIC SCHEMA_DIR')
  process.exit(2)
}

// Cut off by `| head`: enough was seen.
process.stdout.on('error', () => process.exit(0))

const decoder = new PredictionDecoder(schemas)
const groupId = `sluice-demo-tail-${randomUUID()}`
const consumer = clientAt(brokers).client.consumer({ groupId, readUncommitted: false })
await consumer.connect()
await consumer.subscribe({ topic })
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ partition, message: { key, value, headers, offset } }) => {
    if (value === null) return
    const source = header(headers, 'source')
    console.log(JSON.stringify({ key: String(key), ...decoder.decode(value), source, partition, offset }))
  },
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => consumer.disconnect().then(() => process.exit(0)))
}
