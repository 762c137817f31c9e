import { Tensor } from 'onnxruntime-node'
import type { TensorData } from '../core/tensor.ts'

/**
 * 16-bit floats (IEEE 754 binary16), which many models for GPUs take and give. Columns hold them as float32, so that
 * codecs need not know of them; the session thread converts at the edge of the runtime.
 */

/** The largest finite number is 65504; what is beyond becomes infinite. */
const LARGEST = 65_504

/**
 * Rows of float32 as a tensor of 16-bit floats, rounded to the nearest.
 * @throws Error for a finite number that would become infinite: the model would predict from something else.
 */
export function halfTensor(name: string, values: TensorData, dims: readonly number[]): Tensor {
  const halves = new Float16Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number
    halves[i] = value
    if (Number.isFinite(value) && !Number.isFinite(halves[i])) {
      throw new Error(`${value} is too large for input "${name}", which takes 16-bit floats: at most ±${LARGEST}`)
    }
  }
  // The binding reads halves as Uint16Array only, while Tensor takes Float16Array only where the language has it.
  const tensor = new Tensor('uint16', new Uint16Array(halves.buffer), dims)
  return Object.defineProperty(tensor, 'type', { value: 'float16' })
}
