//! gan.h for Rust 1.63 and later: its declarations, then a model and a context that close themselves.  Copy this file,
//! or let bindgen write the declarations: `bindgen gan.h --allowlist-function 'gan_.*' --allowlist-var 'GAN_.*'`.
#![allow(dead_code, non_camel_case_types)]

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};

pub type gan_status = i32;
pub const GAN_OK: gan_status = 0;
pub const GAN_ERROR_ARGUMENT: gan_status = 1;
pub const GAN_ERROR_FILE: gan_status = 2;
pub const GAN_ERROR_FORMAT: gan_status = 3;
pub const GAN_ERROR_VERSION: gan_status = 4;
pub const GAN_ERROR_CORRUPT: gan_status = 5;
pub const GAN_ERROR_UNSUPPORTED: gan_status = 6;
pub const GAN_ERROR_MEMORY: gan_status = 7;
pub const GAN_ERROR_THREAD: gan_status = 8;
pub const GAN_ERROR_LABEL: gan_status = 9;
pub const GAN_ERROR_BUSY: gan_status = 10;
pub const GAN_CANCELED: gan_status = 11;
pub const GAN_MESSAGE_SIZE: usize = 256;
pub const GAN_PRIOR_NORMAL: u32 = 0;
pub const GAN_PRIOR_UNIFORM: u32 = 1;
pub const GAN_PRIOR_NONE: u32 = 2;
pub const GAN_KIND_IMAGE: u32 = 0;
pub const GAN_KIND_VOLUME: u32 = 1;
pub const GAN_KIND_SIGNAL: u32 = 2;
pub const GAN_KIND_VALUES: u32 = 3;
pub const GAN_LABELS_RANDOM: u32 = 0;
pub const GAN_LABELS_ONE: u32 = 1;
pub const GAN_LABELS_ALL: u32 = 2;
pub const GAN_BYTES: u32 = 0;
pub const GAN_GRAY8: u32 = 1;
pub const GAN_RGB8: u32 = 2;
pub const GAN_RGBA8: u32 = 3;
pub const GAN_BGRA8: u32 = 4;
pub const GAN_FLOAT_PLANAR: u32 = 5;
pub const GAN_FLOAT_INTERLEAVED: u32 = 6;
pub const GAN_ARITHMETIC_FAST: u32 = 0;
pub const GAN_ARITHMETIC_FLOAT32: u32 = 1;

pub enum gan_model {}
pub enum gan_context {}
pub type gan_work = extern "C" fn(arg: *mut c_void, i: c_int);
pub type gan_parallel = extern "C" fn(user: *mut c_void, work: gan_work, arg: *mut c_void, n: c_int);
pub type gan_done = extern "C" fn(user: *mut c_void, first: u64, count: u64, images: *mut c_void) -> c_int;

/// Structures that begin with their size, whose default is zeros after it.
macro_rules! structures {
    ($($name:ident { $($member:ident: $type:ty),* $(,)? })*) => { $(
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct $name { pub size: usize, $(pub $member: $type),* }
        impl Default for $name {
            fn default() -> Self {
                Self { size: std::mem::size_of::<Self>(), ..unsafe { std::mem::zeroed() } }
            }
        }
    )* };
}
structures! {
    gan_open_options { kernels: *const c_char, message: *mut c_char, message_size: usize }
    gan_info {
        latent_size: u32, classes: u32, prior: u32, channels: u32, height: u32, width: u32, low: f32, high: f32,
        weights: u64, manifest: *const c_char, manifest_size: usize, kernels: *const c_char, kind: u32, depth: u32,
        arithmetic: *const c_char, scalars: u32, noise_size: u64,
    }
    gan_input {
        channels: u32, least_height: u32, multiple_height: u32, most_height: u32, least_width: u32,
        multiple_width: u32, most_width: u32, low: f32, high: f32,
    }
    gan_context_options {
        max_memory: u64, threads: u32, batch: u32, parallel: Option<gan_parallel>, user: *mut c_void,
        message: *mut c_char, message_size: usize, arithmetic: u32,
    }
    gan_context_info { scratch: u64, weights: u64, threads: u32, batch: u32, steps: u32 }
    gan_step_info {
        weights: u64, output: u64, cycles: f64, channels: u32, height: u32, width: u32, points: u32,
        operation: *const c_char, method: *const c_char, arithmetic: *const c_char, layer: [c_char; 64],
        depth: u32,
    }
    gan_request {
        seed: u64, start: u64, count: u64, label: i64, labeling: u32, latent_scale: f32,
        seeds: *const u64, seeds_size: usize, indices: *const u64, indices_size: usize,
        labels: *const i64, labels_size: usize, latents: *const f32, latents_size: usize,
        scalars: *const f32, scalars_size: usize, noise: *const f32, noise_size: usize,
    }
    gan_output {
        data: *mut c_void, data_size: usize, row_stride: isize, image_stride: isize, done: Option<gan_done>,
        user: *mut c_void, format: u32,
    }
    gan_images {
        count: u64, data: *const c_void, data_size: usize, row_stride: isize, image_stride: isize, height: u32,
        width: u32, format: u32, seed: u64, start: u64, noise: *const f32, noise_size: usize,
    }
}

#[link(name = "gan")]
extern "C" {
    pub fn gan_open(path: *const c_char, options: *const gan_open_options, model: *mut *mut gan_model) -> gan_status;
    pub fn gan_open_memory(
        data: *const c_void, size: usize, options: *const gan_open_options, model: *mut *mut gan_model,
    ) -> gan_status;
    pub fn gan_close(model: *mut gan_model);
    pub fn gan_describe(model: *const gan_model, info: *mut gan_info);
    pub fn gan_describe_input(model: *const gan_model, input: *mut gan_input);
    pub fn gan_output_size(
        model: *const gan_model, height: u32, width: u32, out_height: *mut u32, out_width: *mut u32,
    ) -> gan_status;
    pub fn gan_threads_default() -> u32;
    pub fn gan_context_size(
        model: *mut gan_model, options: *const gan_context_options, scratch: *mut u64, weights: *mut u64,
    ) -> gan_status;
    pub fn gan_apply_size(
        model: *mut gan_model, options: *const gan_context_options, height: u32, width: u32, scratch: *mut u64,
        weights: *mut u64,
    ) -> gan_status;
    pub fn gan_context_new(
        model: *mut gan_model, options: *const gan_context_options, context: *mut *mut gan_context,
    ) -> gan_status;
    pub fn gan_context_free(context: *mut gan_context);
    pub fn gan_describe_context(context: *const gan_context, info: *mut gan_context_info);
    pub fn gan_describe_step(context: *const gan_context, index: u32, step: *mut gan_step_info) -> gan_status;
    pub fn gan_generate(
        context: *mut gan_context, request: *const gan_request, output: *const gan_output,
    ) -> gan_status;
    pub fn gan_apply(context: *mut gan_context, images: *const gan_images, output: *const gan_output) -> gan_status;
    pub fn gan_context_message(context: *const gan_context) -> *const c_char;
    pub fn gan_latents(
        model: *const gan_model, request: *const gan_request, out: *mut f32, out_size: usize,
    ) -> gan_status;
    pub fn gan_labels(
        model: *const gan_model, request: *const gan_request, out: *mut i64, out_size: usize,
    ) -> gan_status;
    pub fn gan_interpolate(
        model: *const gan_model, from: *const f32, to: *const f32, at: f64, out: *mut f32, size: usize,
    ) -> gan_status;
    pub fn gan_status_string(status: gan_status) -> *const c_char;
    pub fn gan_version() -> *const c_char;
}

/// What the library refuses: its status, and a line of English.
pub struct Error(pub gan_status, pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        to.write_str(&self.1)
    }
}

fn checked(status: gan_status, message: *const c_char) -> Result<(), Error> {
    if status == GAN_OK {
        return Ok(());
    }
    let text = |line: *const c_char| unsafe { CStr::from_ptr(line) }.to_string_lossy().into_owned();
    let explained = if message.is_null() { String::new() } else { text(message) };
    let line = if explained.is_empty() { text(unsafe { gan_status_string(status) }) } else { explained };
    Err(Error(status, line))
}

/// An open .gan file, which any number of threads may use.
pub struct Model(*mut gan_model);
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Model {
    pub fn open(path: &str) -> Result<Model, Error> {
        let mut message = [0 as c_char; GAN_MESSAGE_SIZE];
        let options = gan_open_options {
            message: message.as_mut_ptr(),
            message_size: message.len(),
            ..Default::default()
        };
        let name = CString::new(path).map_err(|_| Error(GAN_ERROR_FILE, "a path without NUL is needed".into()))?;
        let mut model = std::ptr::null_mut();
        checked(unsafe { gan_open(name.as_ptr(), &options, &mut model) }, message.as_ptr())?;
        Ok(Model(model))
    }

    pub fn info(&self) -> gan_info {
        let mut info = gan_info::default();
        unsafe { gan_describe(self.0, &mut info) };
        info
    }

    /// The images that it takes; all zeros for a model of latents.
    pub fn input(&self) -> gan_input {
        let mut input = gan_input::default();
        unsafe { gan_describe_input(self.0, &mut input) };
        input
    }

    /// Height and width of what comes out for an image of this size.
    pub fn output_size(&self, height: u32, width: u32) -> Result<(u32, u32), Error> {
        let (mut h, mut w) = (0, 0);
        checked(unsafe { gan_output_size(self.0, height, width, &mut h, &mut w) }, std::ptr::null())?;
        Ok((h, w))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { gan_close(self.0) }
    }
}

/// Scratch memory and threads for a model, which serve one call at a time.
pub struct Context<'a> {
    handle: *mut gan_context,
    _model: &'a Model,
}
unsafe impl Send for Context<'_> {}

impl<'a> Context<'a> {
    pub fn new(model: &'a Model) -> Result<Context<'a>, Error> {
        let mut message = [0 as c_char; GAN_MESSAGE_SIZE];
        let options = gan_context_options {
            message: message.as_mut_ptr(),
            message_size: message.len(),
            ..Default::default()
        };
        let mut handle = std::ptr::null_mut();
        checked(unsafe { gan_context_new(model.0, &options, &mut handle) }, message.as_ptr())?;
        Ok(Context { handle, _model: model })
    }

    /// Images start .. start+count-1 of a seed, with random labels, to `pixels`.
    pub fn generate(&mut self, seed: u64, start: u64, count: u64, format: u32, pixels: &mut [u8]) -> Result<(), Error> {
        let request = gan_request { seed, start, count, ..Default::default() };
        let status = unsafe { gan_generate(self.handle, &request, &output_of(format, pixels)) };
        checked(status, unsafe { gan_context_message(self.handle) })
    }

    /// The image that the model makes of one of bytes, both without gaps and in the same format, to `pixels`.
    pub fn apply(
        &mut self, image: &[u8], height: u32, width: u32, format: u32, pixels: &mut [u8],
    ) -> Result<(), Error> {
        let images = gan_images {
            count: 1,
            data: image.as_ptr().cast(),
            data_size: image.len(),
            height,
            width,
            format,
            ..Default::default()
        };
        let status = unsafe { gan_apply(self.handle, &images, &output_of(format, pixels)) };
        checked(status, unsafe { gan_context_message(self.handle) })
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        unsafe { gan_context_free(self.handle) }
    }
}

fn output_of(format: u32, pixels: &mut [u8]) -> gan_output {
    gan_output { data: pixels.as_mut_ptr().cast(), data_size: pixels.len(), format, ..Default::default() }
}
