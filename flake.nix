{
  description = "AI Inference Study: which serving stack for which model, by controlled experiment";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { nixpkgs, ... }:
    let
      inherit (nixpkgs) lib;
      linux = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      # The runner needs Linux. A Mac can ask results and make reports.
      systems = linux ++ [ "aarch64-darwin" ];

      # Groups and stacks are found, as the runner finds them: a folder with a group.toml, and in it those with a stack.toml.
      folders =
        place: file:
        builtins.filter (
          name: (builtins.readDir place).${name} == "directory" && builtins.pathExists (place + "/${name}/${file}")
        ) (builtins.attrNames (builtins.readDir place));
      stacks = builtins.concatMap (
        group:
        map (name: {
          inherit group name;
          id = "group${builtins.head (builtins.split "-" group)}-${name}";
          toml = builtins.fromTOML (builtins.readFile (./groups + "/${group}/${name}/stack.toml"));
        }) (folders (./groups + "/${group}") "stack.toml")
      ) (folders ./groups "group.toml");
      ofStacks =
        make:
        builtins.listToAttrs (
          map (stack: {
            name = stack.id;
            value = make stack;
          }) stacks
        );

      shell =
        pkgs: more: needed:
        let
          # What Python's binary wheels expect of any Linux, and what a stack's expect beyond that.
          libraries = lib.makeLibraryPath (
            [
              pkgs.stdenv.cc.cc.lib
              pkgs.zlib
            ]
            ++ needed
          );
        in
        pkgs.mkShell (
          {
            packages = [
              pkgs.python312
              pkgs.uv
              pkgs.go_1_26
              pkgs.gnumake
              pkgs.git
              pkgs.curl
            ]
            ++ more;
            # The Makefile takes these instead of fetching its own.
            STUDY_UV = "${pkgs.uv}/bin/uv";
            PYTHON = "${pkgs.python312}/bin/python3.12";
            UV_PYTHON = "${pkgs.python312}/bin/python3.12";
            UV_PYTHON_DOWNLOADS = "never";
          }
          // lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux {
            # NixOS runs the wheels' own programs (ruff, Triton's server) where programs.nix-ld is enabled.
            NIX_LD_LIBRARY_PATH = libraries;
            shellHook = ''
              export LD_LIBRARY_PATH="${libraries}''${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
              # The GPU's driver is the machine's own: NixOS, WSL, or anywhere else only its libraries, not all of /usr/lib.
              for driver in /run/opengl-driver/lib /usr/lib/wsl/lib; do
                if [ -e "$driver/libcuda.so.1" ]; then
                  LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$driver"
                  found=1
                fi
              done
              if [ -z "''${found-}" ] && [ -x /sbin/ldconfig ]; then
                driver="$PWD/.build/driver"
                for name in libcuda.so.1 libnvidia-ml.so.1 libnvidia-ptxjitcompiler.so.1; do
                  file=$(/sbin/ldconfig -p | grep -v i386 | sed -n "s|^\s*$name .* => ||p" | head -n 1)
                  if [ -n "$file" ]; then
                    mkdir -p "$driver" && ln -sf "$file" "$driver/$name"
                  fi
                done
                if [ -d "$driver" ]; then
                  LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$driver"
                fi
              fi
              unset driver found file name
            '';
          }
        );

      # What provides a command or a library that a stack.toml requires. A new one fails here, not in somebody's shell.
      providers = pkgs: {
        command.java = pkgs.jdk17_headless;
        shared_library = {
          "libnuma.so.1" = pkgs.numactl;
          "libpython{python}.so.1.0" = pkgs.python312;
        };
      };
      needs =
        pkgs: kind: stack:
        map (
          required:
          (providers pkgs).${kind}.${required.${kind}}
            or (throw "${stack.group}/${stack.name} requires ${required.${kind}}: add what provides it to flake.nix")
        ) (builtins.filter (builtins.hasAttr kind) (stack.toml.requires or [ ]));

      # A stack with all it needs of the repository, at the same paths.
      kept =
        stack:
        [
          ".gitignore"
          "LICENSE"
          "Makefile"
          "pyproject.toml"
          "shared"
          "results/schema"
          "groups/conftest.py"
        ]
        ++ map (name: "groups/${stack.group}/${name}") (
          [
            "group.toml"
            "model"
            "payloads"
            stack.name
          ]
          ++ (if stack.toml ? engine then [ "engines/${stack.toml.engine}" ] else [ ])
        );
      # By builtins alone, so that `nix flake init` needs no nixpkgs.
      within =
        inner: outer:
        builtins.substring 0 (builtins.stringLength outer + 1) "${inner}/" == "${outer}/";
      prune =
        stack:
        builtins.path {
          name = stack.id;
          path = ./.;
          filter =
            path: _:
            let
              here = builtins.substring (builtins.stringLength (toString ./.) + 1) (builtins.stringLength path) path;
            in
            builtins.any (keep: within here keep || within keep here) (kept stack);
        };

      perSystem = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      devShells = perSystem (
        pkgs:
        {
          default = shell pkgs (
            [ pkgs.duckdb ]
            ++ builtins.attrValues (providers pkgs).command
            ++ lib.optionals pkgs.stdenv.hostPlatform.isLinux [ pkgs.chromium ]
          ) (builtins.attrValues (providers pkgs).shared_library);
        }
        // lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux (
          ofStacks (stack: shell pkgs (needs pkgs "command" stack) (needs pkgs "shared_library" stack))
        )
      );

      templates = ofStacks (stack: {
        path = prune stack;
        description = "${stack.toml.title}: ${stack.toml.summary}";
        welcomeText = ''
          `cd groups/${stack.group}/${stack.name}`, then `make run`, `make test`, `make bench`, `make image`.
          `make template STACK=${stack.group}/${stack.name} TO=../my-service` lays it out as a service of its own.
        '';
      });

      checks = perSystem (pkgs: {
        tools =
          pkgs.runCommand "tools"
            {
              nativeBuildInputs = [
                pkgs.python312
                pkgs.uv
                pkgs.go_1_26
                pkgs.jdk17_headless
              ];
            }
            ''
              python3.12 --version && uv --version && java -version
              GOCACHE=$TMPDIR go version
              touch $out
            '';
      });

      formatter = perSystem (
        # By itself nixfmt wants to be told the files; a plain `nix fmt` names none.
        pkgs:
        pkgs.writeShellScriptBin "nixfmt" ''
          exec ${pkgs.nixfmt}/bin/nixfmt "''${@:-flake.nix}"
        ''
      );
    };
}
