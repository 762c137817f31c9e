/** A thread that packs a row into a slot of another one, and a row that is not finite after it, and looks at both. */
import { parentPort, workerData } from 'node:worker_threads'
import { viewsOf } from '../../src/codec/column-views.ts'
import { type SharedSlot, type SlotLayout, viewSlot } from '../../src/inference/slots.ts'

const { layout, shared } = workerData as { layout: SlotLayout; shared: SharedSlot }
const { inputs } = viewSlot(0, layout, 8, shared)
const { width } = layout.inputs[0]!
const data = inputs[0]!.data as Float32Array
data.fill(1, 0, 2 * width)
data[2 * width - 1] = Number.NaN
const { floatCheck } = viewsOf(inputs)[0]!
const answers = [0, 1].map(row => floatCheck?.(4 * row * width, width))
parentPort!.postMessage([floatCheck === undefined ? 'slow' : 'fast', ...answers])
