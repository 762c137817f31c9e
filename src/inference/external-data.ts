import { Message, type Visitor } from './protobuf.ts'

/** Weights that a model keeps in another file. */
export interface ExternalReference {
  /** Path of the file as the graph has it, meant from where the model lies. Not to be trusted. */
  readonly location: string
  /** The name of the tensor. */
  readonly tensor: string
  /** Constants of the graph and its subgraphs; what is no initializer lies in the attribute of a node. */
  readonly initializer: boolean
}

/** TensorProto.DataLocation */
const EXTERNAL = 1

/**
 * Every reference to another file in an ONNX model, in the order of the file. Field numbers are those of onnx.proto
 * (IR version 13), which never change; of each message, the fields that can lead to a tensor are followed.
 * @throws Error with the byte at which the bytes are no ONNX model: it was cut off, or is something else.
 */
export function externalReferences(model: Uint8Array): ExternalReference[] {
  const walk = new Walk()
  if (model.length === 0) throw new Error('the file is empty')
  new Message(model).visit(walk.model)
  if (!walk.sawGraph) throw new Error('there is no graph in it')
  return walk.found
}

/** The messages of onnx.proto through which a tensor can be reached. */
class Walk {
  readonly found: ExternalReference[] = []
  sawGraph = false

  /** ModelProto: graph, training_info, functions */
  readonly model: Visitor = {
    messages: {
      7: part => {
        this.sawGraph = true
        part.visit(this.#graph)
      },
      20: part => part.visit(this.#trainingInfo),
      25: part => part.visit(this.#function),
    },
  }

  /** TrainingInfoProto: initialization, algorithm */
  readonly #trainingInfo: Visitor = {
    messages: { 1: part => part.visit(this.#graph), 2: part => part.visit(this.#graph) },
  }

  /** FunctionProto: node, attribute_proto */
  readonly #function: Visitor = {
    messages: { 7: part => part.visit(this.#node), 11: part => part.visit(this.#attribute) },
  }

  /** GraphProto: node, initializer, sparse_initializer */
  readonly #graph: Visitor = {
    messages: {
      1: part => part.visit(this.#node),
      5: part => this.#tensor(part, true),
      15: part => this.#sparseTensor(part, true),
    },
  }

  /** NodeProto: attribute */
  readonly #node: Visitor = { messages: { 5: part => part.visit(this.#attribute) } }

  /** AttributeProto: t, g, tensors, graphs, sparse_tensor, sparse_tensors */
  readonly #attribute: Visitor = {
    messages: {
      5: part => this.#tensor(part, false),
      6: part => part.visit(this.#graph),
      10: part => this.#tensor(part, false),
      11: part => part.visit(this.#graph),
      22: part => this.#sparseTensor(part, false),
      23: part => this.#sparseTensor(part, false),
    },
  }

  /** SparseTensorProto: values, indices */
  #sparseTensor(part: Message, initializer: boolean): void {
    part.visit({ messages: { 1: each => this.#tensor(each, initializer), 2: each => this.#tensor(each, initializer) } })
  }

  /** TensorProto: name, external_data, data_location */
  #tensor(part: Message, initializer: boolean): void {
    let tensor = ''
    let location: string | undefined
    let external = false
    part.visit({
      messages: {
        8: name => {
          tensor = name.text()
        },
        13: entry => {
          const [key, value] = entryOf(entry)
          if (key === 'location') location = value
        },
      },
      varints: {
        14: value => {
          external = value === EXTERNAL
        },
      },
    })
    // A location counts without the mark, too: better one file named too many than one too few.
    if (external || location !== undefined) this.found.push({ location: location ?? '', tensor, initializer })
  }
}

/** StringStringEntryProto: key, value */
function entryOf(part: Message): [key: string, value: string] {
  let key = ''
  let value = ''
  part.visit({
    messages: {
      1: text => {
        key = text.text()
      },
      2: text => {
        value = text.text()
      },
    },
  })
  return [key, value]
}
