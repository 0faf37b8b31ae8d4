// Pictures of a seed: draw.exe g.gan SEED COUNT > pictures.raw, uint8 (count, height, width, channels).
using System;
using System.IO;

static class Draw
{
    static int Main(string[] words)
    {
        ulong seed = 0, count = 0;
        if (words.Length != 3 || !ulong.TryParse(words[1], out seed) || !ulong.TryParse(words[2], out count) || count == 0)
            return Fail("usage: draw.exe FILE.gan SEED COUNT > pictures.raw, with SEED 0 to 2^64-1 and COUNT at least 1");
        try
        {
            using (var generator = new GanGenerator(words[0]))
            using (var output = Console.OpenStandardOutput())
                for (ulong i = 0; i < count; i++)
                {
                    var pixels = generator.Generate(seed, i, 1);
                    output.Write(pixels, 0, pixels.Length);
                    output.Flush();
                }
            return 0;
        }
        catch (GanException e)
        {
            return Fail(words[0] + ": " + e.Message);
        }
        catch (DllNotFoundException)
        {
            return Fail("the engine's library, libgan, can't be found");
        }
        catch (IOException)
        {
            return Fail("the pictures can't be written");
        }
    }

    static int Fail(string line)
    {
        Console.Error.WriteLine("draw: " + line);
        return 2;
    }
}
