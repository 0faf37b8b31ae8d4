// gan.h for C#: what a program needs of it, and a generator that frees itself.  C# 6, so that Mono and Unity compile it.
// The library is found as the runtime finds any: libgan.so, libgan.dylib or gan.dll; in Unity it is a native plugin.
using System;
using System.Runtime.InteropServices;
using System.Text;

/// Why the engine refused, in a line of English.
public sealed class GanException : Exception
{
    public readonly int Status;
    public GanException(int status, string message) : base(message) { Status = status; }
}

/// An open .gan file and what generates images of it.  Use it from one thread at a time.
public sealed class GanGenerator : IDisposable
{
    IntPtr model, context;
    public readonly int LatentSize, Classes, Channels, Depth, Height, Width;

    /// Threads: 0 for one per core.  Batch: the most images that are computed at once.
    public GanGenerator(string path, int threads = 0, int batch = 1)
    {
        var message = Marshal.AllocHGlobal(Gan.MessageSize);
        try
        {
            var open = new Gan.OpenOptions { Message = message, MessageSize = (UIntPtr)Gan.MessageSize };
            Check(Gan.gan_open(Encoding.UTF8.GetBytes(path + "\0"), ref open, out model), message);
            var how = new Gan.ContextOptions
            {
                Threads = (uint)threads, Batch = (uint)batch, Message = message, MessageSize = (UIntPtr)Gan.MessageSize
            };
            Check(Gan.gan_context_new(model, ref how, out context), message);
        }
        catch
        {
            Dispose();
            throw;
        }
        finally
        {
            Marshal.FreeHGlobal(message);
        }
        var info = new Gan.Info { Size = (UIntPtr)Marshal.SizeOf(typeof(Gan.Info)) };
        Gan.gan_describe(model, ref info);
        LatentSize = (int)info.LatentSize;
        Classes = (int)info.Classes;
        Channels = (int)info.Channels;
        Depth = Math.Max((int)info.Depth, 1); // of a volume
        Height = (int)info.Height;
        Width = (int)info.Width;
    }

    /// Images start .. start+count-1 of a seed, with random labels: (count, Height, Width, bytes of a pixel).
    /// `fromBelow`: the last row first, as in Unity's textures.
    public byte[] Generate(ulong seed, ulong start, int count, Gan.Format format = Gan.Format.Bytes, bool fromBelow = false)
    {
        var unit = format == Gan.Format.Bytes ? Channels : format == Gan.Format.Gray8 ? 1 : format == Gan.Format.Rgb8 ? 3 : 4;
        var pixels = new byte[checked(count * Depth * Height * Width * unit)];
        var pinned = GCHandle.Alloc(pixels, GCHandleType.Pinned);
        try
        {
            var request = new Gan.Request { Seed = seed, Start = start, Count = (ulong)count };
            var output = new Gan.Output
            {
                Data = pinned.AddrOfPinnedObject(), DataSize = (UIntPtr)pixels.Length, PixelFormat = format,
                RowStride = (IntPtr)(fromBelow ? -unit * Width : 0)
            };
            Check(Gan.gan_generate(context, ref request, ref output), Gan.gan_context_message(context));
        }
        finally
        {
            pinned.Free();
        }
        return pixels;
    }

    public void Dispose()
    {
        Gan.gan_context_free(context);
        Gan.gan_close(model);
        context = model = IntPtr.Zero;
    }

    static void Check(int status, IntPtr message)
    {
        if (status == 0) return;
        var explained = Marshal.PtrToStringAnsi(message);
        var line = string.IsNullOrEmpty(explained) ? Marshal.PtrToStringAnsi(Gan.gan_status_string(status)) : explained;
        throw new GanException(status, line);
    }
}

/// The declarations.  A structure of zeros asks for the defaults.
public static class Gan
{
    public const int MessageSize = 256;

    public enum Format : uint { Bytes, Gray8, Rgb8, Rgba8, Bgra8, FloatPlanar, FloatInterleaved }

    [StructLayout(LayoutKind.Sequential)]
    public struct OpenOptions
    {
        public UIntPtr Size;
        public IntPtr Kernels, Message;
        public UIntPtr MessageSize;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Info
    {
        public UIntPtr Size;
        public uint LatentSize, Classes, Prior, Channels, Height, Width;
        public float Low, High;
        public ulong Weights;
        public IntPtr Manifest;
        public UIntPtr ManifestSize;
        public IntPtr Kernels;
        public uint Kind, Depth;
        public IntPtr Arithmetic;
        public uint Scalars;
        public ulong NoiseSize;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct ContextOptions
    {
        public UIntPtr Size;
        public ulong MaxMemory;
        public uint Threads, Batch;
        public IntPtr Parallel, User, Message;
        public UIntPtr MessageSize;
        public uint Arithmetic;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Request
    {
        public UIntPtr Size;
        public ulong Seed, Start, Count;
        public long Label;
        public uint Labeling;
        public float LatentScale;
        public IntPtr Seeds;
        public UIntPtr SeedsSize;
        public IntPtr Indices;
        public UIntPtr IndicesSize;
        public IntPtr Labels;
        public UIntPtr LabelsSize;
        public IntPtr Latents;
        public UIntPtr LatentsSize;
        public IntPtr Scalars;
        public UIntPtr ScalarsSize;
        public IntPtr Noise;
        public UIntPtr NoiseSize;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Output
    {
        public UIntPtr Size;
        public IntPtr Data;
        public UIntPtr DataSize;
        public IntPtr RowStride, ImageStride, Done, User;
        public Format PixelFormat;
    }

    [DllImport("gan")] public static extern int gan_open(byte[] path, ref OpenOptions options, out IntPtr model);
    [DllImport("gan")] public static extern void gan_close(IntPtr model);
    [DllImport("gan")] public static extern void gan_describe(IntPtr model, ref Info info);
    [DllImport("gan")] public static extern int gan_context_new(IntPtr model, ref ContextOptions options, out IntPtr context);
    [DllImport("gan")] public static extern void gan_context_free(IntPtr context);
    [DllImport("gan")] public static extern int gan_generate(IntPtr context, ref Request request, ref Output output);
    [DllImport("gan")] public static extern IntPtr gan_context_message(IntPtr context);
    [DllImport("gan")] public static extern IntPtr gan_status_string(int status);
}
