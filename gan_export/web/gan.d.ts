/** A request for images start .. start+count-1 of a seed, or for those of `latents`. */
export interface GenerateRequest {
  /** 0 .. 2^64-1; default 0n. */
  seed?: bigint | number;
  /** Index of the first image; default 0n. */
  start?: bigint | number;
  /** Number of images; default 1. */
  count?: number;
  /** A class for all images, "all" (image i has class i mod classes) or "random" (default). */
  label?: number | "random" | "all";
  /** Rows of info.latentSize numbers, instead of seed and start. */
  latents?: Float32Array | null;
  /** info.scalars numbers for all images, such as StyleGAN's psi; default: each is 1. */
  scalars?: Float32Array | null;
  /** Style mixing, if the generator has info.styles: layers first .. last take the w of image 0 of `seed`, in turn. */
  mix?: Mix[];
  /** Rows of info.styles' layers x features, as `map` returns them, instead of latents; scalars don't change them. */
  ws?: Float32Array | null;
}

/** Layers first .. last, counted from 0, and the seed whose w they take. */
export interface Mix {
  readonly first: number;
  /** Default: first. */
  readonly last?: number;
  readonly seed: bigint | number;
}

/** The heights or widths that a generator takes: multiples of `multiple` from `least` to `most`. */
export interface Side {
  readonly least: number;
  readonly multiple: number;
  readonly most: number;
}

/** An image: height x width x channels bytes. */
export interface ImageBytes {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

export interface ApplyOptions {
  /** Called with the tiles done and in all; an image that goes through at once is one tile. */
  progress?: (done: number, total: number) => void;
  /** Height and width of a tile; default 256. Ignored for a generator that sees the whole image. */
  tile?: number;
  /** Most pixels that a tile reads around itself; default 32. The generator's own reach, if it is less. */
  overlap?: number;
  /** Of noise, such as dropout's; default 0n. Of no effect on a generator without noise. */
  seed?: bigint | number;
}

export interface GeneratorInfo {
  readonly latentSize: number;
  readonly channels: number;
  /** Of volumes; 0 for images, and absent from onnxruntime-web's backend. */
  readonly depth?: number;
  readonly height: number;
  readonly width: number;
  /** 0 for a generator without labels. */
  readonly classes: number;
  /** "none": `latents` are numbers of another network, such as StyleGAN's w, and must be given. */
  readonly prior: "normal" | "uniform" | "none";
  /** Whether it takes noise, such as dropout's; absent from onnxruntime-web's backend. */
  readonly noise?: boolean;
  /** Numbers that an image takes beside its latent and label; absent from onnxruntime-web's backend. */
  readonly scalars?: number;
  /** What a style-based generator's synthesis takes, if it was opened with its mapping: a w for each of its layers. */
  readonly styles?: { readonly layers: number; readonly features: number };
  /** The images that it takes; null for a generator of latents. */
  readonly input: { readonly channels: number; readonly height: Side; readonly width: Side } | null;
  /** The file's manifest, in JSON. */
  readonly manifest: string;
}

/** One channel of a volume: depth x height x width bytes. */
export interface VolumeBytes {
  readonly data: Uint8Array;
  readonly depth: number;
  readonly height: number;
  readonly width: number;
}

export declare class Pictures {
  /** count x height x width x channels, 0 .. 255; of volumes count x depth x height x width x channels. */
  readonly data: Uint8Array;
  readonly count: number;
  readonly width: number;
  readonly height: number;
  /** Of volumes; 0 for images. */
  readonly depth: number;
  readonly channels: number;
  /** Duration of generating them. */
  readonly milliseconds: number;
  /** Returns image i as RGBA; a plain object of the same fields if ImageData doesn't exist. Throws RangeError. */
  toImageData(i: number): ImageData;
  /** Returns a channel of volume i, which `new Surface(volume, level).view(side)` of surface.js draws as RGBA. */
  toVolume(i: number, channel?: number): VolumeBytes;
}

export declare class Generator {
  readonly info: GeneratorInfo;
  /** The name of the backend. */
  readonly backend: string;
  /** Generates images; calls may overlap. Rejects with TypeError or RangeError for an invalid request. */
  generate(request?: GenerateRequest): Promise<Pictures>;
  /**
   * Returns what a generator of images makes of one, of any size: padded by reflection and cropped back.
   * Rejects with TypeError for a generator of latents, and for data of another length.
   */
  apply(image: ImageBytes, options?: ApplyOptions): Promise<Pictures>;
  /** Returns the w of each layer of images, after mixing: count x layers x features. Rejects without info.styles. */
  map(request?: GenerateRequest): Promise<Float32Array>;
  /** Returns the latents of a seed, count x info.latentSize. */
  latents(request: { seed: bigint | number; start?: bigint | number; count?: number }): Float32Array;
  /** Ends the workers; running and later requests are rejected. */
  close(): void;
}

export interface OpenOptions {
  /** Maximum number of workers, 1 .. 16; default: the number of cores, up to 8. Each has a copy of the weights. */
  threads?: number;
  /** gan.wasm, gan-simd.wasm or gan-relaxed.wasm; default: the fastest that this host can run. */
  build?: string;
  /** The mapping of a style-based generator whose synthesis is opened: a source of a .gan file, as of `open`. */
  mapping?: string | URL | ArrayBuffer | Uint8Array;
  /** The namespace of onnxruntime-web or onnxruntime-node, imported by the caller, to open an ONNX file. */
  ort?: object;
  /** ONNX Runtime's execution providers, best first; default ["wasm"]. The first that loads the file is used. */
  providers?: string[];
}

/**
 * Open a .gan file: its address, a path in Node, or its bytes, which are copied; with `ort`, an ONNX file of
 * `gan-export onnx`.  Rejects with the reason for any other source.
 */
export declare function open(source: string | URL | ArrayBuffer | Uint8Array, options?: OpenOptions): Promise<Generator>;
