# A nixpkgs with nothing in it but names: those that the flake uses, each with the file of nixpkgs that defines it.
# The files were read in NixOS/nixpkgs; not at the pinned commit itself, which could not be had here.
{
  outputs =
    _:
    let
      defined = {
        chromium = "pkgs/top-level/all-packages.nix";
        curl = "pkgs/by-name/cu/curl/package.nix";
        duckdb = "pkgs/by-name/du/duckdb/package.nix";
        git = "pkgs/by-name/gi/git/package.nix";
        gnumake = "pkgs/by-name/gn/gnumake/package.nix";
        go_1_26 = "pkgs/top-level/all-packages.nix"; # pkgs/development/compilers/go/1.26.nix
        jdk17_headless = "pkgs/top-level/all-packages.nix"; # pkgs/top-level/java-packages.nix
        nixfmt = "pkgs/by-name/ni/nixfmt/package.nix";
        numactl = "pkgs/by-name/nu/numactl/package.nix";
        python312 = "pkgs/top-level/all-packages.nix"; # pkgs/development/interpreters/python/default.nix
        uv = "pkgs/by-name/uv/uv/package.nix";
        zlib = "pkgs/top-level/all-packages.nix"; # pkgs/development/libraries/zlib/default.nix
      };
      package =
        system: name: more:
        derivation (
          more
          // {
            inherit name system;
            builder = "/bin/sh";
          }
        );
      lib = {
        genAttrs =
          names: make:
          builtins.listToAttrs (
            map (name: {
              inherit name;
              value = make name;
            }) names
          );
        optionals = condition: list: if condition then list else [ ];
        optionalAttrs = condition: set: if condition then set else { };
        makeLibraryPath = list: builtins.concatStringsSep ":" (map (each: "${each}/lib") list);
      };
      packages =
        system:
        builtins.mapAttrs (name: _: package system name { }) defined
        // {
          stdenv = {
            hostPlatform.isLinux = builtins.match ".*-linux" system != null; # lib/systems/default.nix
            cc.cc.lib = package system "gcc-lib" { };
          };
          # pkgs/build-support/mkshell/default.nix
          mkShell = args: package system "shell" (args // { packages = map toString args.packages; });
          # pkgs/build-support/trivial-builders/default.nix
          runCommand =
            name: args: script:
            package system name (args // { inherit script; });
          writeShellScriptBin = name: script: package system name { inherit script; };
        };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" ] packages;
    };
}
