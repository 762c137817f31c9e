import { frame, PURCHASE } from './collection.ts'
import { bytes, type Content, double, long, text } from './parts.ts'

/** The parts of `junk` in the schema Cluttered, one of which a message may replace. */
const CLUTTER = {
  text: [text('grün')],
  tags: [long(1n), text('k'), text('v'), long(0n)],
  node: [long(1n), long(1n), long(0n)],
  colour: [long(1n)],
  maybe: [long(1n), text('m')],
  lists: [long(1n), long(2n), long(5n), long(6n), long(0n), long(0n)],
  nothing: [long(3n), long(0n)],
  ratios: [long(1n), double(0.5), long(0n)],
  hash: [bytes(1, 2, 3, 4)],
}
/** A value of the schema Cluttered. */
export const cluttered = (changed: Partial<Record<keyof typeof CLUTTER, Content>> = {}) =>
  frame(2, ...Object.values({ ...CLUTTER, ...changed }).flat(), ...PURCHASE)
