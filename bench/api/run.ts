import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { readOptions, refuse, wholeNumber } from '../../dev/command-line.ts'
import { pythonWith } from '../../dev/python.ts'
import { markdownTable } from '../report/markdown.ts'
import { showNumber, showSpread, spreadOf } from '../report/statistics.ts'
import { ratioAtEqualP99 } from './at-equal-p99.ts'
import { type ApiRequest, type LoadResult, load } from './load.ts'
import { type ApiServer, startFastApi, startSluice } from './servers.ts'

const HELP = `node bench/api/run.ts [OPTIONS]

Asks \`sluice serve\` and a FastAPI server with ONNX Runtime for the same predictions over HTTP, from the same generator, in
turn, round by round; prints requests a second and latencies by the number of connections, and how many times the throughput
of FastAPI (in one process, and in one for each core) Sluice has at its p99. Needs Python 3.11 with venv.

  --model NAME       iris-classifier, digits-mlp (unless given) or ffnn
  --rows N           rows of a request, 1 unless given
  --binary           binary tensors instead of JSON
  --connections N,…  1,4,16,64,128 unless given
  --runs N           rounds, 5 unless given
  --seconds N        of one measurement, 2 unless given
  --json             prints all figures instead of tables

Example: node bench/api/run.ts --model ffnn --binary`

const WIDTHS = { 'iris-classifier': ['float_input', 4], 'digits-mlp': ['pixels', 64], ffnn: ['image', 784] } as const
const WARM_UP_MS = 1_500

const values = readOptions(HELP, {
  model: { type: 'string', default: 'digits-mlp' },
  rows: { type: 'string' },
  binary: { type: 'boolean', default: false },
  connections: { type: 'string', default: '1,4,16,64,128' },
  runs: { type: 'string' },
  seconds: { type: 'string' },
  json: { type: 'boolean', default: false },
})
const { model, binary } = values
if (!Object.hasOwn(WIDTHS, model)) refuse(`--model is "${model}", but must be one of ${Object.keys(WIDTHS).join(', ')}`)
const rows = wholeNumber('rows', values.rows, 1, 1)
const runs = wholeNumber('runs', values.runs, 5, 1)
const ms = 1000 * wholeNumber('seconds', values.seconds, 2, 1)
const connections = values.connections.split(',').map(text => wholeNumber('connections', text, 1, 1))

/** Numbers from [0, 1) with four digits, the same in every run. */
function requestOf(name: keyof typeof WIDTHS): ApiRequest {
  const [tensor, width] = WIDTHS[name]
  const data = Array.from({ length: rows * width }, (_, i) => ((i * 7919) % 10_000) / 10_000)
  const path = `/v2/models/${name}/infer`
  const input = { name: tensor, datatype: 'FP32', shape: [rows, width] }
  if (!binary) {
    const body = Buffer.from(JSON.stringify({ inputs: [{ ...input, data }] }))
    return { path, body, headers: { 'content-type': 'application/json' } }
  }
  const tail = Buffer.from(Float32Array.from(data).buffer)
  const head = Buffer.from(
    JSON.stringify({
      parameters: { binary_data_output: true },
      inputs: [{ ...input, parameters: { binary_data_size: tail.length } }],
    }),
  )
  return {
    path,
    body: Buffer.concat([head, tail]),
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(head.length) },
  }
}

/** One server, started for this round alone, at every number of connections. */
async function measured(
  starting: Promise<ApiServer>,
  request: ApiRequest,
): Promise<{ name: string; results: LoadResult[] }> {
  const server = await starting
  try {
    await load(server.url, request, Math.max(...connections), WARM_UP_MS)
    const results: LoadResult[] = []
    for (const count of connections) results.push(await load(server.url, request, count, ms))
    return { name: server.name, results }
  } finally {
    await server.stop()
  }
}

const found = pythonWith(fileURLToPath(new URL('requirements.txt', import.meta.url)))
if ('missing' in found) refuse(`the Python of this bench is missing: ${found.missing}`)
const request = requestOf(model as keyof typeof WIDTHS)
const workers = [...new Set([1, availableParallelism()])]
const starts = [() => startSluice(model), ...workers.map(count => () => startFastApi(model, found.python, count))]
const rounds: { name: string; results: LoadResult[] }[][] = []
for (let run = 0; run < runs; run++) {
  const round: (typeof rounds)[number] = []
  for (let i = 0; i < starts.length; i++) {
    const at = (i + run) % starts.length
    round[at] = await measured(starts[at]!(), request)
  }
  rounds.push(round)
  console.error(`round ${run + 1} of ${runs} is done`)
}

/** Of each of the others, in every round. */
const ratios = rounds[0]!.slice(1).map(({ name }, i) => ({
  name,
  rounds: rounds.map(([ours, ...peers]) => ratioAtEqualP99(ours!.results, peers[i]!.results)),
}))
if (values.json) console.log(JSON.stringify({ model, rows, binary, rounds, ratios }))
else {
  const table = rounds[0]!.flatMap(({ name }, server) =>
    connections.map((count, i) => {
      const of = (key: keyof LoadResult, digits: number) =>
        showSpread(
          rounds.map(round => round[server]!.results[i]![key]),
          digits,
        )
      return [name, String(count), of('perSecond', 0), of('p50Ms', 2), of('p99Ms', 2)]
    }),
  )
  console.log(
    `${model}, ${rows === 1 ? 'a row' : `${rows} rows`} a request, ${binary ? 'binary' : 'JSON'}; medians of ${runs}\n`,
  )
  console.log(markdownTable(['server', 'connections', 'requests/s', 'p50 ms', 'p99 ms'], table))
  console.log('')
  for (const { name, rounds } of ratios) {
    const median = (key: 'p99Ms' | 'ours' | 'peer', digits = 0) =>
      showNumber(spreadOf(rounds.map(round => round[key]))!.median, digits)
    const times = showSpread(
      rounds.map(({ ratio }) => ratio),
      2,
    )
    console.log(
      `At the p99 of ${name} at its best (${median('p99Ms', 2)} ms): ${median('ours')} requests/s against ` +
        `${median('peer')}, ${times} times as many (goal: ≥ 3)`,
    )
  }
}
