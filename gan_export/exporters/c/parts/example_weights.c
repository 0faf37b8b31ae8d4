    file = fopen(argv[1], "rb");
    if (file == NULL || fread(&weights, 1, sizeof weights, file) != sizeof weights || !generator_check(&weights)) {
        fprintf(stderr, "%s can't be read, or isn't the weights of this generator\n", argv[1]);
        return 1;
    }
    fclose(file);
