// SPDX-License-Identifier: GPL-2.0-only
//! Sequences of operations that the interpreter executes in one go.
//!
//! They are the ones that saved most rounds of the loop in a profile of a scheduler that keeps running averages, locks
//! and maps. The list only decides speed: any sequence of arithmetic, loads and stores may be in it, with at most one
//! jump, at its end.

/// Calls a macro with what is given and the list: a name, and the operations it stands for.
macro_rules! with_chains {
    ($then:ident $($before:tt)*) => {
        $then! {
            $($before)*
            Add32StoreWAddMov: Add32 Store32 Add64 Mov64;
            AddLoadW: Add64 Load32;
            AddLoad: Add64 Load64;
            AddLoadLoadWLoadW: Add64 Load64 Load32 Load32;
            AddMov32: Add64 Mov32;
            AddMov32RshMul: Add64 Mov32 Rsh64 Mul64;
            AddMov: Add64 Mov64;
            AddMovStoreLoad: Add64 Mov64 Store64 Load64;
            AddMovXorRsh: Add64 Mov64 Xor64 Rsh64;
            AddMulRshAdd: Add64 Mul64 Rsh64 Add64;
            AddRshAddLoad: Add64 Rsh64 Add64 Load64;
            AddRshAddMov32: Add64 Rsh64 Add64 Mov32;
            AddRshMulAdd: Add64 Rsh64 Mul64 Add64;
            AddRshMulMov32: Add64 Rsh64 Mul64 Mov32;
            AddRshMulMov: Add64 Rsh64 Mul64 Mov64;
            AddRshStoreMul: Add64 Rsh64 Store64 Mul64;
            AddRshSubMov32: Add64 Rsh64 Sub64 Mov32;
            AddStoreWStoreStore: Add64 Store32 Store64 Store64;
            AddStore: Add64 Store64;
            AddStoreLoadJge: Add64 Store64 Load64 Jge64;
            And32Jne32: And32 Jne32;
            And32Or32Add32Mov32: And32 Or32 Add32 Mov32;
            AndAddLshAdd: And64 Add64 Lsh64 Add64;
            AndLshAddLoadW: And64 Lsh64 Add64 Load32;
            AndMulRshAdd: And64 Mul64 Rsh64 Add64;
            LoadWJeq32: Load32 Jeq32;
            LoadWJgt32: Load32 Jgt32;
            LoadWJne32: Load32 Jne32;
            LoadWLoad: Load32 Load64;
            LoadWLshDiv: Load32 Lsh64 Div64;
            LoadWLshDivJgt: Load32 Lsh64 Div64 Jgt64;
            LoadWMov: Load32 Mov64;
            LoadWStoreWAddMov: Load32 Store32 Add64 Mov64;
            LoadJeq: Load64 Jeq64;
            LoadLoadW: Load64 Load32;
            LoadLoadWStoreWAdd: Load64 Load32 Store32 Add64;
            LoadLoad: Load64 Load64;
            LoadLoadJle: Load64 Load64 Jle64;
            LoadLoadMovMov: Load64 Load64 Mov64 Mov64;
            LoadMov32RshMul: Load64 Mov32 Rsh64 Mul64;
            LoadMov: Load64 Mov64;
            LoadMovMovMov: Load64 Mov64 Mov64 Mov64;
            LoadMulMov32Add: Load64 Mul64 Mov32 Add64;
            LoadRshMulRsh: Load64 Rsh64 Mul64 Rsh64;
            LoadStore: Load64 Store64;
            LshAddRshAdd: Lsh64 Add64 Rsh64 Add64;
            LshDivLshLsh: Lsh64 Div64 Lsh64 Lsh64;
            LshDivMulSub: Lsh64 Div64 Mul64 Sub64;
            LshMovLoadMov: Lsh64 Mov64 Load64 Mov64;
            Mov32Add32: Mov32 Add32;
            Mov32Add32Rsh32Lsh32: Mov32 Add32 Rsh32 Lsh32;
            Mov32AddMulRsh: Mov32 Add64 Mul64 Rsh64;
            Mov32AddRshAdd: Mov32 Add64 Rsh64 Add64;
            Mov32Load: Mov32 Load64;
            Mov32LoadAdd32Mov32: Mov32 Load64 Add32 Mov32;
            Mov32LshAddLoadW: Mov32 Lsh64 Add64 Load32;
            Mov32MulRsh: Mov32 Mul64 Rsh64;
            Mov32MulRshMov32: Mov32 Mul64 Rsh64 Mov32;
            Mov32Rsh32Mov32Sub32: Mov32 Rsh32 Mov32 Sub32;
            Mov32Sub32Rsh32And32: Mov32 Sub32 Rsh32 And32;
            MovJeq32: Mov64 Jeq32;
            MovJeq: Mov64 Jeq64;
            MovJlt: Mov64 Jlt64;
            MovLoadW: Mov64 Load32;
            MovLoadWJeq32: Mov64 Load32 Jeq32;
            MovLoadWJne32: Mov64 Load32 Jne32;
            MovLoad: Mov64 Load64;
            MovLoadMov: Mov64 Load64 Mov64;
            MovLoadRshLsh: Mov64 Load64 Rsh64 Lsh64;
            MovMov32Mov: Mov64 Mov32 Mov64;
            MovMov32MovLoadW: Mov64 Mov32 Mov64 Load32;
            MovMov: Mov64 Mov64;
            MovNeg: Mov64 Neg64;
            MovNegLoadJlt: Mov64 Neg64 Load64 Jlt64;
            MulMov32AddMul: Mul64 Mov32 Add64 Mul64;
            MulMov32AddRsh: Mul64 Mov32 Add64 Rsh64;
            MulRshAndMul: Mul64 Rsh64 And64 Mul64;
            MulRshMov32Add: Mul64 Rsh64 Mov32 Add64;
            MulRshMulRsh: Mul64 Rsh64 Mul64 Rsh64;
            Or32Rsh32Rsh32Add32: Or32 Rsh32 Rsh32 Add32;
            OrOrMov32Mul: Or64 Or64 Mov32 Mul64;
            OrOrMov32Store: Or64 Or64 Mov32 Store64;
            Rsh32And32Rsh32Or32: Rsh32 And32 Rsh32 Or32;
            RshAddLoadMov32: Rsh64 Add64 Load64 Mov32;
            RshAddLshAdd: Rsh64 Add64 Lsh64 Add64;
            RshAddMovLoad: Rsh64 Add64 Mov64 Load64;
            RshAddMovMul: Rsh64 Add64 Mov64 Mul64;
            RshAddMovXor: Rsh64 Add64 Mov64 Xor64;
            RshAddRshAdd: Rsh64 Add64 Rsh64 Add64;
            RshAndAddLoad: Rsh64 And64 Add64 Load64;
            RshAndAddRsh: Rsh64 And64 Add64 Rsh64;
            RshAndMulStore: Rsh64 And64 Mul64 Store64;
            RshLshRshAnd: Rsh64 Lsh64 Rsh64 And64;
            RshMov32AddLoad: Rsh64 Mov32 Add64 Load64;
            RshMov32AddMul: Rsh64 Mov32 Add64 Mul64;
            RshMov32AddRsh: Rsh64 Mov32 Add64 Rsh64;
            RshMulMov32Mul: Rsh64 Mul64 Mov32 Mul64;
            RshMulMovMov32: Rsh64 Mul64 Mov64 Mov32;
            RshMulRshMul: Rsh64 Mul64 Rsh64 Mul64;
            RshSubLoadLsh: Rsh64 Sub64 Load64 Lsh64;
            RshSubMov32Mul: Rsh64 Sub64 Mov32 Mul64;
            StoreWAddMov: Store32 Add64 Mov64;
            StoreWLoadStoreStore: Store32 Load64 Store64 Store64;
            StoreWMov: Store32 Mov64;
            StoreWMovLoadLoadW: Store32 Mov64 Load64 Load32;
            StoreWStoreWStoreMov: Store32 Store32 Store64 Mov64;
            StoreWStoreStoreMov: Store32 Store64 Store64 Mov64;
            StoreLoadWMov32Jlt32: Store64 Load32 Mov32 Jlt32;
            StoreLoad: Store64 Load64;
            StoreLoadJge: Store64 Load64 Jge64;
            StoreLoadMulSub: Store64 Load64 Mul64 Sub64;
            StoreMov: Store64 Mov64;
            StoreMulRshAdd: Store64 Mul64 Rsh64 Add64;
            StoreStore: Store64 Store64;
            StoreStoreMulSub: Store64 Store64 Mul64 Sub64;
            Sub32MovLoadWJne32: Sub32 Mov64 Load32 Jne32;
            SubLshAddRsh: Sub64 Lsh64 Add64 Rsh64;
            SubMov: Sub64 Mov64;
            SubMovDivJgt: Sub64 Mov64 Div64 Jgt64;
            SubMovDivStore: Sub64 Mov64 Div64 Store64;
        }
    };
}

pub(super) use with_chains;
