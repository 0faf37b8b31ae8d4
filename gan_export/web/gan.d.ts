/** Which pictures: those of indices start .. start+count-1 of a seed, or those of latents given. */
export interface GenerateRequest {
  /** 0 .. 2^64-1; 0n without it. */
  seed?: bigint | number;
  /** Index of the first picture; 0n without it. */
  start?: bigint | number;
  /** 1 without it. */
  count?: number;
  /** A class for all, "all" (picture i has class i mod classes) or "random", which is the default. */
  label?: number | "random" | "all";
  /** Rows of info.latentSize numbers, instead of seed and start. */
  latents?: Float32Array | null;
}

export interface GeneratorInfo {
  readonly latentSize: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** 0 for a generator without labels. */
  readonly classes: number;
  readonly prior: "normal" | "uniform";
  /** JSON: what the file says of itself. */
  readonly manifest: string;
}

export declare class Pictures {
  /** count x height x width x channels, 0 .. 255. */
  readonly data: Uint8Array;
  readonly count: number;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  /** What drawing them took. */
  readonly milliseconds: number;
  /** Picture i as RGBA; a plain object of the same fields where there is no ImageData. Throws RangeError. */
  toImageData(i: number): ImageData;
}

export declare class Generator {
  readonly info: GeneratorInfo;
  /** What draws, in words. */
  readonly backend: string;
  /** Rejects with TypeError or RangeError for a request that can't be met; calls may overlap. */
  generate(request?: GenerateRequest): Promise<Pictures>;
  /** The latents of a seed, count x info.latentSize. */
  latents(request: { seed: bigint | number; start?: bigint | number; count?: number }): Float32Array;
  /** Ends the workers; pictures still asked for are refused, and those asked for later. */
  close(): void;
}

export interface OpenOptions {
  /** Workers at most, 1 .. 16; without it as many as there are cores, up to 8. Each holds the weights. */
  threads?: number;
  /** gan.wasm, gan-simd.wasm or gan-relaxed.wasm; without it the best that runs here. */
  build?: string;
  /** The namespace of onnxruntime-web or onnxruntime-node, imported by the caller: then an ONNX file is opened. */
  ort?: object;
  /** ONNX Runtime's execution providers, best first; ["wasm"] without it. The first that takes the file draws. */
  providers?: string[];
}

/**
 * Open a .gan file: its address, a path in Node, or its bytes, which are copied; with `ort`, an ONNX file of
 * `gan-export onnx`.  Rejects with the reason for what is none.
 */
export declare function open(source: string | URL | ArrayBuffer | Uint8Array, options?: OpenOptions): Promise<Generator>;
