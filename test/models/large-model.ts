import { open } from 'node:fs/promises'

/**
 * A little writer of ONNX, which is a protobuf (onnx.proto, github.com/onnx/onnx): just enough for one model that is too
 * large to be kept, value [n, 1] = table[index [n, 1]]. `elements` floats make the table; element i is i % 1000.
 */
export async function writeLargeModel(file: string, elements: number): Promise<void> {
  // TensorProto: dims = 1, data_type = 2 (FLOAT), name = 8, raw_data = 9, which goes last and is written in pieces.
  const head = Buffer.concat([varint(1, elements), varint(2, 1), bytes(8, 'table'), key(9, 2), number(4 * elements)])
  const table = { head, length: head.length + 4 * elements }

  // GraphProto: node = 1, name = 2, initializer = 5, input = 11, output = 12.
  const node = [bytes(1, 'table'), bytes(1, 'index'), bytes(2, 'value'), bytes(4, 'Gather')]
  const around = [
    bytes(1, Buffer.concat(node)),
    bytes(2, 'large'),
    bytes(11, tensor('index', 7)),
    bytes(12, tensor('value', 1)),
  ]
  const graph = Buffer.concat([...around, key(5, 2), number(table.length)])
  // ModelProto: ir_version = 1, opset_import = 8 (version = 2), graph = 7.
  const model = [
    varint(1, 8),
    bytes(8, varint(2, 17)),
    key(7, 2),
    number(graph.length + table.length),
    graph,
    table.head,
  ]

  const handle = await open(file, 'wx')
  try {
    await handle.write(Buffer.concat(model))
    const thousand = Buffer.from(Float32Array.from({ length: 1000 }, (_, i) => i).buffer)
    const piece = Buffer.concat(Array<Buffer>(1000).fill(thousand))
    for (let left = 4 * elements; left > 0; left -= piece.length)
      await handle.write(piece, 0, Math.min(left, piece.length))
  } finally {
    await handle.close()
  }
}

/** ValueInfoProto of a tensor [n, 1]: name = 1, type = 2 → tensor_type = 1 → elem_type = 1, shape = 2 → dim = 1. */
function tensor(name: string, elementType: number): Buffer {
  // A dimension has a dim_value = 1 or a dim_param = 2.
  const shape = Buffer.concat([bytes(1, bytes(2, 'n')), bytes(1, varint(1, 1))])
  const type = Buffer.concat([varint(1, elementType), bytes(2, shape)])
  return Buffer.concat([bytes(1, name), bytes(2, bytes(1, type))])
}

function key(field: number, wireType: number): Buffer {
  return number(field * 8 + wireType)
}

function varint(field: number, value: number): Buffer {
  return Buffer.concat([key(field, 0), number(value)])
}

function bytes(field: number, content: Buffer | string): Buffer {
  const buffer = Buffer.from(content as string)
  return Buffer.concat([key(field, 2), number(buffer.length), buffer])
}

/** Seven bits a byte, the low ones first, the top bit set on all but the last. */
function number(value: number): Buffer {
  const digits: number[] = []
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...digits, left])
    digits.push((left % 128) | 128)
  }
}
